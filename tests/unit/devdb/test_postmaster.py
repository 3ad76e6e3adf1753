from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgcast.devdb.postmaster import PidFile, parse_pid_file

if TYPE_CHECKING:
    from collections.abc import Sequence

# process id, data directory, start time, port, socket directory, listen address, shared memory, status
WRITTEN = ["4711", "/data", "1790000000", "5432", "/socket", "127.0.0.1", "  5432001    229383", "ready   "]


def pid_file(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"


def test_a_server_that_takes_connections_is_ready() -> None:
    assert parse_pid_file(pid_file(WRITTEN)) == PidFile(pid=4711, is_ready=True)


@pytest.mark.parametrize("status", ["starting", "stopping", "standby "])
def test_any_other_status_is_not_ready(status: str) -> None:
    assert parse_pid_file(pid_file([*WRITTEN[:7], status])) == PidFile(pid=4711, is_ready=False)


@pytest.mark.parametrize("count", range(1, 8))
def test_a_file_that_is_still_being_written_is_not_ready(count: int) -> None:
    assert parse_pid_file(pid_file(WRITTEN[:count])) == PidFile(pid=4711, is_ready=False)


def test_a_standalone_backend_writes_its_number_with_a_minus() -> None:
    assert parse_pid_file("-4711\n/data\n") == PidFile(pid=4711, is_ready=False)


@pytest.mark.parametrize("text", ["", "\n", "postgres\n", "4711x\n"])
def test_a_file_without_a_number_says_nothing(text: str) -> None:
    assert parse_pid_file(text) is None
