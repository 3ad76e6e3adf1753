import os
import pwd
import stat
from pathlib import Path

import pytest

from pgcast.model.errors import SettingsError
from pgcast.webhooks.folder import FolderLock, make_folder, spool_files, spool_path


def test_a_folder_is_made_for_nobody_else(tmp_path: Path):
    folder = tmp_path / "state" / "webhooks"
    make_folder(folder)
    make_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_is_a_wrong_setting(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(SettingsError, match=r"PGCAST_STATE_DIR: webhooks need a folder .* cannot be written to"):
            make_folder(folder)


async def test_one_server_is_let_in_at_a_time(tmp_path: Path):
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    await first.acquire()
    assert first.is_held
    with pytest.raises(SettingsError, match="PGCAST_STATE_DIR: another pgcast delivers the webhooks in"):
        await second.acquire(wait_s=0)
    first.release()
    first.release()
    await second.acquire(wait_s=0)
    assert (first.is_held, second.is_held) == (False, True)
    second.release()


async def test_a_lock_that_cannot_be_written_is_a_wrong_setting(tmp_path: Path):
    with pytest.raises(SettingsError, match="cannot be written: No such file or directory"):
        await FolderLock(tmp_path / "nothing").acquire()


def test_spools_are_found_and_nothing_else(tmp_path: Path):
    assert spool_files(tmp_path / "nothing") == []
    for name in ("b.sqlite", "a.sqlite", "a.sqlite-wal", "lock", "a.sqlite.damaged-1"):
        (tmp_path / name).write_bytes(b"")
    assert spool_files(tmp_path) == [spool_path(tmp_path, "a"), spool_path(tmp_path, "b")]


def test_a_folder_that_may_not_be_looked_into_is_not_taken_for_an_empty_one(tmp_path: Path):
    folder = tmp_path / "webhooks"
    folder.mkdir(mode=0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(pwd.getpwnam("nobody").pw_uid)  # root may look into everything
    try:
        with pytest.raises(SettingsError, match="cannot be read: Permission denied"):
            spool_files(folder)
    finally:
        os.seteuid(user)
