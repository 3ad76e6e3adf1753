from __future__ import annotations

from pgcast.cli.demo.environment import foreign_variables


def test_what_names_another_database_is_left_aside():
    names = ["DATABASE_URL", "DB_HOST", "DB_PASSWORD", "PGHOST", "PGSERVICE", "PUBLICATIONS", "SLOT_NAME", "JWT_SECRET"]
    assert foreign_variables(names) == names


def test_everything_else_is_kept():
    assert foreign_variables(["PATH", "HOME", "TMPDIR", "PGCAST_LOG", "PGCAST_WINDOW_MB"]) == []
