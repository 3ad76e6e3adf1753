"""Fixtures live in plugin files by subject."""

from hypothesis import settings

<<<<<<< HEAD
pytest_plugins = ["fix_clock", "fix_node", "fix_postgres", "fix_clients"]  # an importer comes after what it imports
=======
pytest_plugins = ["fix_node", "fix_postgres", "fix_clients", "fix_place"]  # an importer comes after what it imports
>>>>>>> kinds

# Two busy cores: how long one example takes says nothing here.
settings.register_profile("pgcast", deadline=None)
settings.load_profile("pgcast")
