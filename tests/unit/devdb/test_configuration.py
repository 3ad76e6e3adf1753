from __future__ import annotations

import pytest

from pgcast.devdb.configuration import hba_file, settings_file
from pgcast.model.errors import PgcastError


def test_settings_are_written_as_postgres_reads_them() -> None:
    settings = {"fsync": False, "jit": True, "port": 5432, "seq_page_cost": 1.5, "my.own": "a 'quoted' \\ text"}
    assert settings_file(settings) == (
        "fsync = 'off'\n"
        "jit = 'on'\n"
        "port = '5432'\n"
        "seq_page_cost = '1.5'\n"
        "my.own = 'a ''quoted'' \\\\ text'\n"
    )  # fmt: skip


@pytest.mark.parametrize("name", ["", "Port", "port = 1\nfsync", "a b", "1a", "a.", "a.b.c", "größe"])
def test_what_is_no_name_of_a_setting_is_refused(name: str) -> None:
    with pytest.raises(PgcastError, match="not the name of a setting"):
        settings_file({name: "1"})


@pytest.mark.parametrize("value", ["a\nfsync = off", "a\r", "a\0"])
def test_a_value_cannot_start_a_line_of_its_own(value: str) -> None:
    with pytest.raises(PgcastError, match="the value of search_path holds a line break or a zero"):
        settings_file({"search_path": value})


def test_the_socket_is_open_and_loopback_asks() -> None:
    assert [line.split() for line in hba_file("scram-sha-256").splitlines()] == [
        ["local", "all", "all", "trust"],
        ["local", "replication", "all", "trust"],
        ["host", "all", "all", "127.0.0.1/32", "scram-sha-256"],
        ["host", "replication", "all", "127.0.0.1/32", "scram-sha-256"],
    ]
