"""One endpoint's spool: a SQLite file in which deliveries wait, and in which those that died are kept.

Several processes may have it open: the server, and `pgcast webhooks`. Within a process it belongs to one thread. What
`append` was given is on the disk when it returns; what `settle` was told may come again after a crash.

The spool has a bound in bytes. When it is full, the oldest go: those that died before those that wait. What is lost
that way is counted, with its first and last position.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

VERSION: Final = 1
_BUSY_S: Final = 5.0
_ROW_BYTES: Final = 300
_LIST: Final = 10_000
_FREE_PAGES: Final = 1000

_SCHEMA: Final = """
begin;
create table deliveries (
    number integer primary key autoincrement,
    id text not null unique,
    first_position text not null,
    last_position text not null,
    changes integer not null,
    size_bytes integer not null,
    spooled_s real not null,
    since_s real not null,
    attempts integer not null default 0,
    reason text not null default '',
    died_s real,
    body blob not null
);
create view listed as
    select number, id, first_position, last_position, changes, size_bytes, spooled_s, since_s, attempts, reason, died_s,
        x'' as body
    from deliveries;
create index waiting on deliveries (number) where died_s is null;
create table totals (is_dead integer primary key, deliveries integer not null, bytes integer not null);
insert into totals values (0, 0, 0), (1, 0, 0);
create trigger added after insert on deliveries begin
    update totals set deliveries = deliveries + 1, bytes = bytes + new.size_bytes
    where is_dead = (new.died_s is not null);
end;
create trigger removed after delete on deliveries begin
    update totals set deliveries = deliveries - 1, bytes = bytes - old.size_bytes
    where is_dead = (old.died_s is not null);
end;
create trigger moved after update of died_s on deliveries when (old.died_s is null) <> (new.died_s is null) begin
    update totals set deliveries = deliveries - 1, bytes = bytes - old.size_bytes
    where is_dead = (old.died_s is not null);
    update totals set deliveries = deliveries + 1, bytes = bytes + new.size_bytes
    where is_dead = (new.died_s is not null);
end;
create table facts (name text primary key, value text not null) without rowid;
insert into facts values ('history', '1'), ('position', ''), ('label', '');
insert into facts values ('lost', '0'), ('lost_first', ''), ('lost_last', '');
pragma user_version = 1;
commit;
"""


@dataclass(frozen=True, slots=True)
class Draft:
    """A delivery before it is in the spool.

    Attributes:
        id: Its id, the same whenever it is made from the same changes.
        first_position: Of its first change.
        last_position: Of its last change.
        changes: How many it has.
        body: What is posted.
    """

    id: str
    first_position: str
    last_position: str
    changes: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery in the spool; times are seconds since 1970-01-01 UTC.

    Attributes:
        number: Its place in the order.
        draft: What it carries; the body is empty in a listing.
        size_bytes: How long the body is, about.
        spooled_s: When it came into the spool.
        since_s: From when on its deadline counts: when it came, or was last replayed.
        attempts: How often it was tried.
        reason: Why the last attempt failed.
        died_s: When it was set aside; None while it waits.
    """

    number: int
    draft: Draft
    size_bytes: int
    spooled_s: float
    since_s: float
    attempts: int
    reason: str
    died_s: float | None


@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """What is in a spool.

    Attributes:
        label: What the endpoint is called.
        waiting: How many deliveries wait, and
        waiting_bytes: what they take.
        dead: How many were set aside, and
        dead_bytes: what they take.
        oldest_s: When the oldest that waits came, seconds since 1970-01-01 UTC; None if none waits.
        lost: How many changes went because the spool was full, and
        lost_positions: the first and the last of them.
    """

    label: str = ""
    waiting: int = 0
    waiting_bytes: int = 0
    dead: int = 0
    dead_bytes: int = 0
    oldest_s: float | None = None
    lost: int = 0
    lost_positions: tuple[str, str] = ("", "")


class SpoolDamaged(Exception):
    """The file is no spool, or not one that this version reads."""


class Spool:
    """An open spool.

    Args:
        path: The file; made if it is missing.
        limit_bytes: The bound.
        must_exist: Whether a missing file is an error.

    Raises:
        SpoolDamaged: The file is something else, or damaged.
        sqlite3.OperationalError: It cannot be opened or written.
    """

    def __init__(self, path: Path, limit_bytes: int, *, must_exist: bool = False) -> None:
        self._limit_bytes = limit_bytes
        if not must_exist:
            with contextlib.suppress(OSError):  # SQLite says why, in a moment
                # What clients wrote is in it: nobody else's business.
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        elif not path.exists():
            raise sqlite3.OperationalError("unable to open database file")
        self._connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        connection = self._connection
        try:
            connection.execute("pragma auto_vacuum = incremental")  # counts while the file is empty
            connection.execute("pragma journal_mode = wal")
            (found,) = connection.execute("pragma user_version").fetchone()
            if found == 0 and not connection.execute("select 1 from sqlite_master").fetchone():
                connection.executescript(_SCHEMA)
                found = VERSION
            # In this journal mode `full` means that a commit is on the disk, `normal` that it will be before later
            # ones.
            connection.execute("pragma synchronous = normal")
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                raise SpoolDamaged(str(error)) from error
            raise
        if found != VERSION:
            raise SpoolDamaged(f"it has the version {found}, this pgcast reads {VERSION}")

    def close(self) -> None:
        """Close the file; twice is safe."""
        self._connection.close()

    def place(self) -> tuple[int, str]:
        """Return the number of the history, and the position of the last change of it that came in, empty if none did.

        Of one history, positions only grow.
        """
        facts = dict(self._connection.execute("select name, value from facts where name in ('history', 'position')"))
        return int(facts["history"]), str(facts["position"])

    def status(self) -> SpoolStatus:
        """Return what is in it."""
        totals = {row[0]: row[1:] for row in self._connection.execute("select * from totals")}
        (oldest_s,) = self._connection.execute(
            "select min(spooled_s) from deliveries where number = "
            "(select min(number) from deliveries where died_s is null)"
        ).fetchone()
        facts = dict(self._connection.execute("select name, value from facts"))
        return SpoolStatus(
            label=facts["label"],
            waiting=totals[0][0],
            waiting_bytes=totals[0][1],
            dead=totals[1][0],
            dead_bytes=totals[1][1],
            oldest_s=oldest_s,
            lost=int(facts["lost"]),
            lost_positions=(facts["lost_first"], facts["lost_last"]),
        )

    def set_label(self, label: str) -> None:
        """Note what the endpoint is called."""
        self._connection.execute("update facts set value = ? where name = 'label'", (label,))

    def append(self, drafts: Sequence[Draft], now_s: float, *, history: int = 0, dead_because: str = "") -> int:
        """Take deliveries in, all or none; on the disk when this returns.

        What came in before, as the position says, is passed over; what is in already is left as it is.

        Args:
            drafts: In order.
            now_s: The time, seconds since 1970-01-01 UTC.
            history: The number of the history that they belong to. Positions of another one than before say nothing
                about what came in; 0 if it is not known.
            dead_because: Why they are set aside at once; empty if they are not.

        Returns:
            How many changes were lost because the spool is full.
        """
        died_s = now_s if dead_because else None
        self._connection.execute("pragma synchronous = full")
        try:
            with self._transaction():
                before, known = self.place()
                if history not in {0, before}:
                    known = ""
                    self._connection.execute("update facts set value = ? where name = 'history'", (str(history),))
                news = [_told_apart(draft, known) for draft in drafts if not _is_repeat(draft, known)]
                if not news:
                    return 0
                self._connection.executemany(
                    "insert or ignore into deliveries (id, first_position, last_position, changes, size_bytes, "
                    "spooled_s, since_s, reason, died_s, body) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    [
                        (
                            *(draft.id, draft.first_position, draft.last_position, draft.changes),
                            len(draft.body) + _ROW_BYTES,
                            *(now_s, now_s, dead_because, died_s, draft.body),
                        )
                        for draft in news
                    ],
                )
                self._connection.execute(
                    "update facts set value = ? where name = 'position'", (news[-1].last_position,)
                )
                return self._make_room()
        finally:
            self._connection.execute("pragma synchronous = normal")

    def head(self) -> Delivery | None:
        """Return the delivery that is next; None if none waits."""
        row = self._connection.execute(
            "select * from deliveries where died_s is null order by number limit 1"
        ).fetchone()
        if row is None:
            self._shrink()
            return None
        return _delivery(row)

    def head_number(self) -> int | None:
        """Return the number of the delivery that is next; None if none waits."""
        (number,) = self._connection.execute("select min(number) from deliveries where died_s is null").fetchone()
        return None if number is None else int(number)

    def settle(self, number: int) -> None:
        """Forget a delivery: the endpoint has it."""
        self._connection.execute("delete from deliveries where number = ?", (number,))

    def note_failure(self, number: int, reason: str, now_s: float) -> None:
        """Note that an attempt failed; a deadline that counts from the future, for the clock was wrong, counts anew."""
        self._connection.execute(
            "update deliveries set attempts = attempts + 1, reason = ?, since_s = min(since_s, ?) where number = ?",
            (reason, now_s, number),
        )

    def bury(self, number: int, reason: str, now_s: float) -> None:
        """Set a delivery aside, after one more attempt that failed."""
        self._connection.execute(
            "update deliveries set attempts = attempts + 1, reason = ?, died_s = ? where number = ?",
            (reason, now_s, number),
        )

    def bury_all(self, reason: str, now_s: float) -> int:
        """Set all that wait aside; return how many."""
        return self._connection.execute(
            "update deliveries set reason = ?, died_s = ? where died_s is null", (reason, now_s)
        ).rowcount

    def list(self, *, is_dead: bool, limit: int = _LIST) -> list[Delivery]:
        """Return the deliveries that wait, or those that were set aside, the oldest first, without their bodies."""
        rows = self._connection.execute(
            "select * from listed where (died_s is not null) = ? order by number limit ?", (is_dead, limit)
        )
        return [_delivery(row) for row in rows]

    def find(self, identifier: str) -> Delivery | None:
        """Return one delivery, whether it waits or was set aside, with its body."""
        row = self._connection.execute("select * from deliveries where id = ?", (identifier,)).fetchone()
        return None if row is None else _delivery(row)

    def replay(self, identifiers: Sequence[str] | None, now_s: float) -> int:
        """Have deliveries that were set aside tried again, at their old places; return how many.

        Args:
            identifiers: Which; None for all.
            now_s: From when on their deadline counts.
        """
        with self._transaction():
            if identifiers is None:
                return self._connection.execute(
                    "update deliveries set died_s = null, since_s = ?, attempts = 0 where died_s is not null", (now_s,)
                ).rowcount
            return sum(
                self._connection.execute(
                    "update deliveries set died_s = null, since_s = ?, attempts = 0 "
                    "where died_s is not null and id = ?",
                    (now_s, one),
                ).rowcount
                for one in identifiers
            )

    def drop(self, identifiers: Sequence[str] | None) -> int:
        """Delete deliveries for good; return how many.

        Args:
            identifiers: Which, dead or waiting; None for all that were set aside.
        """
        with self._transaction():
            if identifiers is None:
                return self._connection.execute("delete from deliveries where died_s is not null").rowcount
            return sum(
                self._connection.execute("delete from deliveries where id = ?", (one,)).rowcount for one in identifiers
            )

    def _shrink(self) -> None:
        """Give some of the space back that the file does not need any more."""
        (free,) = self._connection.execute("pragma freelist_count").fetchone()
        if free > _FREE_PAGES:
            # It gives back one page a step, and `execute` makes one step where there are no rows.
            self._connection.executescript(f"pragma incremental_vacuum({_FREE_PAGES})")

    def _make_room(self) -> int:
        """Delete the oldest while the spool is over its bound; return how many changes went."""
        (total,) = self._connection.execute("select sum(bytes) from totals").fetchone()
        if total <= self._limit_bytes:
            return 0
        going: list[tuple[int]] = []
        lost = 0
        first = last = ""
        for number, size, changes, first_position, last_position in self._connection.execute(
            "select number, size_bytes, changes, first_position, last_position from deliveries "
            "order by died_s is null, number"
        ):
            going.append((number,))
            lost += changes
            first, last = first or first_position, last_position
            total -= size
            if total <= self._limit_bytes:
                break
        self._connection.executemany("delete from deliveries where number = ?", going)
        self._connection.execute("update facts set value = value + ? where name = 'lost'", (lost,))
        self._connection.execute("update facts set value = ? where name = 'lost_first' and value = ''", (first,))
        self._connection.execute("update facts set value = ? where name = 'lost_last'", (last,))
        return lost

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("begin immediate")
        try:
            yield
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # a full disk may have ended it already
                self._connection.execute("rollback")
            raise
        self._connection.execute("commit")


def is_damage(error: sqlite3.Error) -> bool:
    """Say whether an error means that the file is damaged, or no database at all."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_FORMAT}


def _is_repeat(draft: Draft, known: str) -> bool:
    """Say whether all of a delivery came in before; positions of one epoch, the first 8 digits, sort as strings."""
    return draft.last_position[:8] == known[:8] and draft.last_position <= known


def _told_apart(draft: Draft, known: str) -> Draft:
    """Give a delivery that begins with what came in before, and goes on with more, an id unlike that one's.

    So it is when a transaction came in two parts, and comes again as one, for nobody knew of the first.
    """
    if draft.first_position[:8] != known[:8] or draft.first_position > known:
        return draft
    return replace(draft, id=f"msg_{hashlib.sha256(f'{draft.id}/{known}'.encode()).hexdigest()[:32]}")


def _delivery(row: tuple[Any, ...]) -> Delivery:
    number, identifier, first, last, changes, *rest, body = row
    return Delivery(number, Draft(identifier, first, last, changes, body), *rest)
