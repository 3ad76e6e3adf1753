"""Floor 2: from frames to what one write carries."""
