"""Floor 5: every setting once."""
