"""Floor 5: plain HTTP beside the WebSockets."""
