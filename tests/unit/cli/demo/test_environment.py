from __future__ import annotations

from pgcast.cli.demo.environment import foreign_variables


def test_what_names_another_database_is_left_aside():
    names = ["DATABASE_URL", "DB_HOST", "DB_PASSWORD", "PGHOST", "PGSERVICE", "PUBLICATIONS", "SLOT_NAME", "JWT_SECRET"]
    assert foreign_variables(names) == names


def test_everything_else_is_kept():
    assert foreign_variables(["PATH", "HOME", "TMPDIR", "PGCAST_LOG", "PGCAST_WINDOW_MB"]) == []


def test_certificates_are_left_aside_and_so_are_the_files_of_secrets():
    names = ["PGCAST_TLS_CERT", "PGCAST_TLS_KEY", "JWT_SECRET_FILE", "DB_PASSWORD_FILE", "DATABASE_URL_FILE"]
    assert foreign_variables(names) == names
