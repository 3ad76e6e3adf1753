from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from pgcast.engine.floor import Floor
from pgcast.model.errors import SettingsError
from pgcast.state import StateFile

FLOOR = Floor("0a0b0c0d", 900, 800, 3)
MARKS = [["tab-1", False, "realtime:t", "fingerprint", "0a0b0c0d", 100, 2]]


def test_what_was_written_is_read(tmp_path: Path):
    StateFile(tmp_path).write(MARKS, FLOOR)
    assert StateFile(tmp_path).read() == (MARKS, FLOOR)


def test_the_first_run_knows_nothing(tmp_path: Path):
    assert StateFile(tmp_path / "made" / "if missing").read() == ([], None)


def test_the_file_is_replaced_as_a_whole(tmp_path: Path):
    state = StateFile(tmp_path)
    state.write(MARKS, FLOOR)
    state.write([], FLOOR)
    assert state.read() == ([], FLOOR)
    assert [path.name for path in tmp_path.iterdir()] == ["pgcast-state.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"version": 2, "marks": [], "floor": ["a", 1, 2, 3]}',
        b'{"version": 1, "marks": {}, "floor": ["a", 1, 2, 3]}',
        b'{"version": 1, "marks": [], "floor": ["a", 1, 2]}',
        b'{"version": 1, "marks": [], "floor": [1, 1, 2, 3]}',
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "pgcast-state.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        StateFile(tmp_path).read()


def test_a_folder_that_cannot_be_made_is_a_wrong_setting(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SettingsError, match="PGCAST_STATE_DIR: cannot write to"):
        StateFile(tmp_path / "file" / "folder")


def test_it_holds_no_more_than_positions_and_names(tmp_path: Path):
    StateFile(tmp_path).write(MARKS, FLOOR)
    found = orjson.loads((tmp_path / "pgcast-state.json").read_bytes())
    assert set(found) == {"version", "floor", "marks"}
