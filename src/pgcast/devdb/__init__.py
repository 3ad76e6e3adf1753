"""Floor 5: an embedded PostgreSQL for development, demos and tests."""
