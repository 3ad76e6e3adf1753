"""Floor 6: settings to a running node."""
