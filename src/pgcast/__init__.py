"""Change data capture and realtime server for PostgreSQL."""
