"""Fixtures live in plugin files by subject."""

pytest_plugins = ["fix_postgres"]
