"""The embedded Postgres as its users meet it: start, stop, kill, restart, passwords, several users, left-over runs."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ordinary_user import OrdinaryUsers
from pgcast.devdb.binaries import Binaries, binaries_in, find_binaries
from pgcast.devdb.cluster import Cluster
from pgcast.devdb.folder import locked, own_folder, remove_left_over_runs
from pgcast.devdb.postmaster import running_postmaster, stop_orphan
from pgcast.model.errors import PgcastError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fix_postgres import ClusterFactory

# Starts a cluster, tells about it, and removes it when its standard input ends.
SERVE = """
import json, os, sys
from pgcast.devdb.cluster import Cluster
with Cluster(durable=False) as cluster:
    with cluster.connect() as connection:
        (one,) = connection.execute("SELECT 1").fetchone()
    told = {"uid": os.geteuid(), "one": one, "pid": cluster.pid, "port": cluster.port}
    print(json.dumps(told | {"directory": str(cluster.directory)}), flush=True)
    sys.stdin.read()
"""

# Starts a cluster in a given folder, tells about it, and waits to be killed.
WAIT_TO_BE_KILLED = """
import json, sys, time
from pathlib import Path
from pgcast.devdb.cluster import Cluster
cluster = Cluster(durable=False, cached=True, folder=Path(sys.argv[1]))
cluster.start()
print(json.dumps({"pid": cluster.pid, "directory": str(cluster.directory)}), flush=True)
time.sleep(60)
"""

# The same, but Postgres is not tied to the process that started it, as on systems without such a tie.
LEAVE_AN_ORPHAN = """
import json, subprocess, sys, time
from pathlib import Path
from pgcast.devdb.binaries import find_binaries
from pgcast.devdb.cluster import Cluster
from pgcast.devdb.folder import server_account
from pgcast.devdb.launch import command_line
from pgcast.devdb.postmaster import read_pid_file
cluster = Cluster(durable=False, cached=True, folder=Path(sys.argv[1]))
cluster.start()
cluster.stop()
binaries = find_binaries()
program = [str(binaries.program("postgres")), "-D", str(cluster.data)]
program += ["-c", f"config_file={cluster.directory / 'postgresql.conf'}"]
child = subprocess.Popen(
    command_line(program, account=server_account(), environment=binaries.environment()),
    cwd=cluster.directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    start_new_session=True,
)
while (found := read_pid_file(cluster.data)) is None or not found.is_ready:
    time.sleep(0.01)
print(json.dumps({"pid": child.pid, "directory": str(cluster.directory)}), flush=True)
time.sleep(60)
"""


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder of ours elsewhere; pytest's own temporary paths are too long for a socket and closed to others."""
    parent = Path(tempfile.mkdtemp(prefix="pgt-", dir=own_folder().parent))
    parent.chmod(0o711)
    folder = own_folder((parent,))
    yield folder
    with locked(folder):
        remove_left_over_runs(folder)

    def is_gone() -> bool:
        # A Postgres whose owner was killed a moment ago may still be tidying up.
        shutil.rmtree(parent, ignore_errors=True)
        return not parent.exists()

    wait_until(is_gone)


@pytest.fixture
def own_process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Run a program as ourselves; killed afterwards if it is still there."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program, *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


def told_by(child: subprocess.Popen[str]) -> dict[str, Any]:
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line, "the program ended without a word"
    told: dict[str, Any] = json.loads(line)
    return told


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that nobody has waited for yet does not."""
    try:
        os.kill(pid, 0)
        # "pid (name) state ...": the name may contain anything.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        # Without /proc (macOS) the signal has told all there is to tell.
        return not Path("/proc/self").exists()


def wait_until(claim: Callable[[], bool], *, deadline_s: float = 10.0) -> None:
    ends = time.monotonic() + deadline_s
    while not claim():
        assert time.monotonic() < ends, "the deadline has passed"
        time.sleep(0.02)


def modes_on_the_way_to(*paths: Path) -> dict[Path, tuple[int, int, int]]:
    ways = {place for path in paths for place in (path, *path.parents)}
    return {place: (found.st_mode, found.st_uid, found.st_gid) for place in ways for found in [place.stat()]}


# Starting and stopping


def test_a_cluster_is_ready_for_logical_replication_and_never_runs_as_root(cluster: Cluster) -> None:
    with cluster.connect() as connection:
        asked = "SELECT current_setting('wal_level'), current_setting('max_wal_senders'), current_setting('timezone')"
        assert connection.execute(asked).fetchone() == ("logical", "20", "UTC")
        (data,) = connection.execute("SHOW data_directory").fetchone() or ("",)
    assert data == str(cluster.data)
    assert cluster.data.stat().st_uid != 0


def test_settings_reach_postgres_whatever_they_contain(own_cluster: ClusterFactory) -> None:
    one = own_cluster(settings={"max_replication_slots": 3, "cluster_name": r"it's a \ cluster", "fsync": True})
    with one.connect() as connection:
        asked = (
            "SELECT current_setting('max_replication_slots'), current_setting('cluster_name'), current_setting('fsync')"
        )
        assert connection.execute(asked).fetchone() == ("3", r"it's a \ cluster", "on")


def test_a_setting_that_postgres_does_not_know_is_told_in_its_words(postgres_binaries: Binaries) -> None:
    one = Cluster(postgres_binaries, settings={"max_wal_sender": 3}, durable=False, cached=True)
    with pytest.raises(PgcastError, match='unrecognized configuration parameter "max_wal_sender"'):
        one.start()
    with pytest.raises(PgcastError, match="no folder"):
        _ = one.directory


def test_a_restart_keeps_the_port_and_what_was_committed(own_cluster: ClusterFactory) -> None:
    one = own_cluster()
    port = one.port
    with one.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    for stop in (one.stop, lambda: one.stop("immediate"), one.kill):
        stop()
        assert not one.is_running
        one.start()
        assert one.port == port
        with psycopg.connect(one.tcp_dsn()) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_stopping_twice_and_starting_twice_is_harmless(own_cluster: ClusterFactory) -> None:
    one = own_cluster()
    pid = one.pid
    one.start()
    assert one.pid == pid
    one.stop()
    one.stop()
    assert one.pid is None


def test_a_postmaster_that_does_not_answer_is_killed_after_the_deadline(own_cluster: ClusterFactory) -> None:
    one = own_cluster()
    pid = one.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    one.stop(deadline_s=0.2)
    assert not is_alive(pid)


def test_a_port_that_was_taken_meanwhile_is_named(own_cluster: ClusterFactory) -> None:
    one = own_cluster()
    one.stop()
    with socket.create_server(("127.0.0.1", one.port)):
        with pytest.raises(PgcastError, match="no free port") as caught:
            one.start()
        assert caught.value.hint == f"free port {one.port}"
    one.start()
    assert one.is_running


def test_a_new_cluster_avoids_ports_that_are_taken(cluster: Cluster, own_cluster: ClusterFactory) -> None:
    one = own_cluster()
    assert one.port != cluster.port
    one.stop()
    one._start_on([cluster.port, one.port], 10.0)
    assert one.is_running
    assert one.port != cluster.port


async def test_postgres_outlives_the_thread_that_asked_for_it(own_cluster: ClusterFactory) -> None:
    with ThreadPoolExecutor(max_workers=1) as threads:
        one = await asyncio.get_running_loop().run_in_executor(threads, own_cluster)
    # The thread is gone; the tie between Postgres and a thread of ours must not be to that one.
    with one.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert one.is_running


def test_removal_leaves_nothing(own_cluster: ClusterFactory) -> None:
    one = own_cluster()
    directory = one.directory
    pid = one.pid
    assert pid is not None
    one.remove()
    one.remove()
    assert not directory.exists()
    assert not is_alive(pid)


def test_clusters_of_one_cached_initdb_share_an_identity_and_others_do_not(own_cluster: ClusterFactory) -> None:
    def identity(one: Cluster) -> object:
        with one.connect() as connection:
            return connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()

    cached = [identity(own_cluster()) for _ in range(2)]
    own = [identity(own_cluster(cached=False)) for _ in range(2)]
    assert cached[0] == cached[1]
    assert len({*cached, *own}) == 3


# Who may connect


def test_loopback_asks_for_the_password(cluster: Cluster) -> None:
    with psycopg.connect(cluster.tcp_dsn()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    for password in ("wrong", ""):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(cluster.tcp_dsn().replace(cluster.password, password), passfile="/dev/null")
    assert cluster.password not in cluster.log.read_text()


def test_loopback_can_be_left_open(own_cluster: ClusterFactory) -> None:
    one = own_cluster(auth="trust")
    with psycopg.connect(one.tcp_dsn().replace(one.password, "wrong")) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


# Users and folders


def test_ordinary_users_and_ourselves_run_clusters_at_the_same_time(
    cluster: Cluster, own_process: Callable[..., subprocess.Popen[str]]
) -> None:
    with OrdinaryUsers() as users, ExitStack() as children:
        started = [children.enter_context(user.start(SERVE)) for user in users]
        started.append(own_process(SERVE))
        told = [told_by(child) for child in started]
        assert [one["uid"] for one in told] == [*(user.uid for user in users), os.geteuid()]
        assert [one["one"] for one in told] == [1, 1, 1]
        assert len({one["directory"] for one in told} | {str(cluster.directory)}) == 4
        assert len({one["port"] for one in told} | {cluster.port}) == 4
        for user, one in zip(users, told, strict=False):
            assert Path(one["directory"]).is_relative_to(user.temporary)
            assert (Path(one["directory"]) / "data").stat().st_uid == user.uid
        for child in started:
            child.communicate(timeout=30)
            assert child.returncode == 0
        assert not any(Path(one["directory"]).exists() or is_alive(one["pid"]) for one in told)


def test_nothing_outside_our_folder_is_changed(short_folder: Path, postgres_binaries: Binaries) -> None:
    users_before = Path("/etc/passwd").read_bytes()
    tree = postgres_binaries.home / postgres_binaries.tree
    places = (tree / "bin" / "postgres", tree / "lib", tree / "share", short_folder.parent, Path.home())
    before = modes_on_the_way_to(*places)
    with Cluster(postgres_binaries, durable=False, folder=short_folder) as one:
        one.restart()
        assert modes_on_the_way_to(*places) == before
    assert modes_on_the_way_to(*places) == before
    assert Path("/etc/passwd").read_bytes() == users_before


def test_programs_below_a_closed_folder_are_run_from_a_copy(short_folder: Path, postgres_binaries: Binaries) -> None:
    closed = short_folder.parent / "closed"
    for part in (postgres_binaries.tree, *postgres_binaries.libraries):
        shutil.copytree(postgres_binaries.home / part, closed / part, symlinks=True)
    closed.chmod(0o700)
    hidden = Binaries(closed, postgres_binaries.tree, postgres_binaries.libraries)
    for _ in range(2):
        with Cluster(hidden, durable=False, cached=True, folder=short_folder) as one, one.connect() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    copies = list(short_folder.glob("programs-*"))
    assert len(copies) == (1 if os.geteuid() == 0 else 0)
    assert closed.stat().st_mode & 0o777 == 0o700


def test_a_narrow_umask_does_not_matter(short_folder: Path, postgres_binaries: Binaries) -> None:
    before = os.umask(0o077)
    try:
        parent = short_folder.parent / "narrow"
        parent.mkdir()
        parent.chmod(0o711)
        folder = own_folder((parent,))
        with Cluster(postgres_binaries, durable=False, cached=True, folder=folder) as one, one.connect() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        os.umask(before)


def test_links_that_are_only_listed_are_made_in_a_copy(short_folder: Path, postgres_binaries: Binaries) -> None:
    tree = short_folder.parent / "native"
    shutil.copytree(postgres_binaries.home / postgres_binaries.tree, tree, symlinks=True)
    for library in postgres_binaries.libraries:
        shutil.copytree(postgres_binaries.home / library, tree / "lib", dirs_exist_ok=True)
    listing = tree / "pg-symlinks.json"
    listed = json.loads(listing.read_text()) if listing.exists() else []
    listed += [{"source": "native/lib/postgresql/pgoutput.so", "target": "native/lib/linked.so.1"}]
    listing.write_text(json.dumps(listed))
    with Cluster(binaries_in(tree), durable=False, folder=short_folder) as one, one.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        (link,) = short_folder.glob("programs-*/lib/linked.so.1")
        assert link.resolve().name == "pgoutput.so"
    assert not (tree / "lib" / "linked.so.1").exists()


# What a killed run leaves


def test_postgres_ends_when_its_owner_is_killed_and_the_next_start_removes_the_rest(
    short_folder: Path, own_process: Callable[..., subprocess.Popen[str]]
) -> None:
    owner = own_process(WAIT_TO_BE_KILLED, short_folder)
    told = told_by(owner)
    assert is_alive(told["pid"])
    owner.kill()
    owner.wait()
    if sys.platform == "linux":
        wait_until(lambda: not is_alive(told["pid"]))
    assert Path(told["directory"]).exists()
    with Cluster(durable=False, cached=True, folder=short_folder) as one:
        assert one.is_running
        assert not Path(told["directory"]).exists()
        assert not is_alive(told["pid"])


def test_a_left_over_postgres_is_stopped_by_the_next_start(
    short_folder: Path, own_process: Callable[..., subprocess.Popen[str]]
) -> None:
    owner = own_process(LEAVE_AN_ORPHAN, short_folder)
    told = told_by(owner)
    owner.kill()
    owner.wait()
    assert running_postmaster(Path(told["directory"]) / "data") == told["pid"]
    with Cluster(durable=False, cached=True, folder=short_folder):
        assert not is_alive(told["pid"])
        assert not Path(told["directory"]).exists()


def test_a_run_that_is_alive_is_left_alone(
    short_folder: Path, own_process: Callable[..., subprocess.Popen[str]]
) -> None:
    told = told_by(own_process(WAIT_TO_BE_KILLED, short_folder))
    with locked(short_folder):
        assert remove_left_over_runs(short_folder) == []
    assert is_alive(told["pid"])


def test_a_stale_pid_file_does_not_keep_postgres_from_starting(own_cluster: ClusterFactory) -> None:
    one = own_cluster()
    one.kill()
    # The number has passed to a process that lives, and that is no postmaster: this one.
    pid_file = one.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    assert running_postmaster(one.data) is None
    one.start()
    assert one.is_running


def test_a_process_that_only_has_the_number_of_a_left_over_postgres_is_not_touched(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as innocent:
        (tmp_path / "postmaster.pid").write_text(f"{innocent.pid}\n{tmp_path}\n")
        stop_orphan(tmp_path)
        assert innocent.poll() is None
        innocent.kill()


# The folder


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    place = tmp_path / f"pgcast-{os.geteuid()}"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    place.symlink_to(elsewhere)
    with pytest.raises(PgcastError, match=r"no place for the embedded Postgres"):
        own_folder((tmp_path,))
    assert list(elsewhere.iterdir()) == []


def test_a_folder_that_others_can_write_to_is_not_used(short_folder: Path) -> None:
    short_folder.chmod(0o777)
    with pytest.raises(PgcastError, match="others can write to it"):
        own_folder((short_folder.parent,))


def test_the_next_place_is_taken_where_a_socket_path_would_be_too_long(short_folder: Path) -> None:
    long = short_folder.parent / ("x" * 60)
    long.mkdir()
    assert own_folder((long, short_folder.parent)) == short_folder


def test_the_lock_of_the_folder_has_a_deadline(short_folder: Path) -> None:
    with (
        locked(short_folder),
        pytest.raises(PgcastError, match="another run holds"),
        locked(short_folder, deadline_s=0.1),
    ):
        pytest.fail("two hold the lock")


def test_the_wheel_has_what_it_says(tmp_path: Path) -> None:
    assert find_binaries(16).version().startswith("16.")
    assert find_binaries(18).version().startswith("18.")
    with pytest.raises(PgcastError, match="as version 16 and 18, not 17"):
        find_binaries(17)
    with pytest.raises(PgcastError, match="bin/postgres is missing"):
        binaries_in(tmp_path)
