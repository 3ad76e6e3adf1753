"""Fixtures live in plugin files by subject."""

from hypothesis import settings

pytest_plugins = ["fix_node", "fix_postgres", "fix_clients", "fix_place"]  # an importer comes after what it imports

# Two busy cores: how long one example takes says nothing here.
settings.register_profile("pgcast", deadline=None)
settings.load_profile("pgcast")
