"""Floor 2: bytes on the WebSocket wire."""
