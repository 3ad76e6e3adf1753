"""Floor 5: WebSocket connections."""
