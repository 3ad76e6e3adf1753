"""Floor 2: from replication bytes to committed changes."""
