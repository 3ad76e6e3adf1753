"""Fixtures live in plugin files by subject."""

from hypothesis import settings

# An importer comes after what it imports.
pytest_plugins = [
    *("fix_clock", "fix_node", "fix_postgres", "fix_clients", "fix_demo", "fix_place", "fix_policies"),
    *("fix_webhooks", "fix_logs", "fix_messages", "compat.behaviours"),
]

# Two busy cores: how long one example takes says nothing here.
settings.register_profile("pgcast", deadline=None)
settings.load_profile("pgcast")
