"""Floor 5: talking to Postgres."""
