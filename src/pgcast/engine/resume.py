"""Serve the past from the window, then join the present without gap or repeat.

A member reads the window for itself, at its own pace, when it has just joined (until the stream has passed the snapshot
of its join), when it resumes from a position or a time, or when it was so slow that the group's ring has passed it.
When it has read all there is, and its group has nothing pending, it is level: from then on it shares the group's ticks.

Of a long past, a member looks only at what its entries may want: found by what the rows hold, once for all readers.

Members of a group whose filters need answers of Postgres' are never level. They share what the first of them has read:
one match, one set of frames, for as many as come to the same place. What is of other tables they do not even look at.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pgcast.engine.stretches import Stretches
from pgcast.engine.views import Views
from pgcast.fanout.chunks import Chunk, Chunks
from pgcast.fanout.tick import gather
from pgcast.matching.scan import Found, Scan
from pgcast.model.lsn import NO_LSN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pgcast.changes.payload import Payloads
    from pgcast.engine.groups import Group, Member, Reading
    from pgcast.engine.sights import Access, Sights
    from pgcast.fanout.window import Window
    from pgcast.matching.conditions import Ask
    from pgcast.matching.index import Entry
    from pgcast.model.change import Change
    from pgcast.model.lsn import Lsn
    from pgcast.model.relation import Table

_CHUNK_CHANGES = 200
_CHUNK_BYTES = 256 * 1024
_TURN_S = 0.005
_SHARED_BYTES = 4 << 20

FELL_OUT = "too slow: the changes you have not read are no longer held; reconnect and resume"


class Readers:
    """The members that read the window.

    Args:
        window: Where from.
        payloads: What turns a change into the JSON of its message.
        sights: What the members' roles may see.
        as_text: Whether the oldest protocol's values go out as text.

    Attributes:
        when_level: Called with a member that has read everything and has been taken off the readers; set by the owner.
        when_served: Called after each turn of serving; set by the owner.
        passed_lsn: Everything that commits below it is in the window.
        ask: Says what Postgres says of a value; set by the owner, where there are filters that need it.
    """

    when_level: Callable[[Member], None]
    when_served: Callable[[], None]
    ask: Ask | None = None

    def __init__(self, window: Window, payloads: Payloads, sights: Sights, *, as_text: bool) -> None:
        self._window = window
        self._payloads = payloads
        self._sights = sights
        self._as_text = as_text
        self._members: dict[Member, None] = {}
        self._turn: asyncio.Handle | None = None
        self._chunks = Chunks(_SHARED_BYTES)
        self._stretches = Stretches(window)
        self._version = sights.version
        self._waiting: set[tuple[Group | Member, int]] = set()  # who waits for Postgres, and where; for one turn
        self.passed_lsn = NO_LSN

    def __len__(self) -> int:
        return len(self._members)

    def start(self, member: Member, reading: Reading) -> None:
        """Begin to serve a member from the window."""
        member.reading = reading
        member.group.reading[member] = None
        member.group.has_idle = True
        if member.group.scan is None:
            member.group.scan = Scan(member.group.signature.entries, self.ask)
        self._members[member] = None
        self.serve_soon()

    def stop(self, member: Member) -> None:
        """Forget a member, wherever it stands."""
        member.reading = None
        member.group.reading.pop(member, None)
        self._members.pop(member, None)

    def restart(self) -> None:
        """Another history begins: what members know of the old one says nothing of this one.

        Its LSNs and transaction ids may come again. So who joined just before gets more, never less.
        """
        self.passed_lsn = NO_LSN
        for member in self._members:
            if member.reading is not None:
                member.reading.rules = None
                member.reading.until = NO_LSN

    def passed(self, lsn: Lsn) -> None:
        """Note that everything that commits below `lsn` is in the window."""
        if lsn > self.passed_lsn:
            self.passed_lsn = lsn
            if self._members:
                self.serve_soon()

    def needed(self) -> dict[Group, int]:
        """Return, of each group that has one, the oldest change that a reader needs which is not slow.

        Not slow is who waits for nothing but us, and who is ahead of everybody else in its group.
        """
        needed: dict[Group, int] = {}
        furthest: dict[Group, int] = {}
        for member in self._members:
            group, reading = member.group, member.reading
            if reading is None or (group.asks and reading.at > group.concerned_at):
                continue
            if not member.outlet.is_paused:
                needed[group] = min(reading.at, needed.get(group, reading.at))
            if not group.level and not group.behind:
                furthest[group] = max(reading.at, furthest.get(group, 0))
        for group, at in furthest.items():
            needed[group] = min(at, needed.get(group, at))
        return needed

    def serve_soon(self) -> None:
        """Serve all that can take something, in the next turn of the loop."""
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self.serve)

    def serve(self) -> None:
        """Serve all that can take something, for a few milliseconds; go on in the loop's next turn if there is more."""
        self._turn = None
        self._waiting.clear()
        clock = asyncio.get_running_loop().time
        end_s = clock() + _TURN_S
        for member in list(self._members):
            while member.reading is not None and not member.outlet.is_paused and self._advance(member, member.reading):
                if clock() > end_s:
                    # The others come first next time.
                    self._members[member] = self._members.pop(member, None)
                    self.serve_soon()
                    self.when_served()
                    return
        self.when_served()

    def _advance(self, member: Member, reading: Reading) -> bool:
        """Serve one chunk; say whether there may be more."""
        group = member.group
        if group.asks and reading.at > group.concerned_at:
            reading.at = self._window.end
            group.has_idle = True
            self._has_read_all(member, reading)
            return False
        if reading.at < self._window.start:
            self.stop(member)
            member.outlet.close(1013, FELL_OUT)
            return False
        if self._version != self._sights.version:
            # What was rendered with other rights is nobody's any more.
            self._version = self._sights.version
            self._chunks = Chunks(_SHARED_BYTES)
        place = _place(member, reading, reading.at)
        chunk = self._chunks.get(place)
        if chunk is None:
            if place in self._waiting:
                return False
            if reading.at >= self._window.end:
                self._has_read_all(member, reading)
                return False
            chunk = self._read(member, reading)
            if reading.rules is None and chunk.end > reading.at:
                self._chunks.keep(place, chunk)
        for piece in chunk.pieces:
            member.outlet.write(piece)
        has_moved = chunk.end > reading.at
        reading.at = chunk.end
        group.has_idle = group.has_idle or reading.at > group.concerned_at
        return has_moved

    def _read(self, member: Member, reading: Reading) -> Chunk:
        """Read changes, up to one that waits for an answer of Postgres', or as many as make a chunk."""
        changes, behind_all = self._ahead(member.group, reading)
        end = reading.at
        parts: list[bytes] = []
        size = 0
        is_waiting = False
        for number, change in changes:
            access = self._sights.judge(change.table).access(member.group.role)
            found = _found(member.group, reading, change, access)
            if found is None:
                is_waiting = True  # for Postgres; those behind it are looked at all the same, to be asked together
                continue
            if is_waiting:
                continue
            end = number + 1
            for frame in self._frames(member.group, change, found, access):
                parts += frame
                size += sum(map(len, frame))
            if size > _CHUNK_BYTES:
                break
        else:
            end = end if is_waiting else behind_all
        if is_waiting:
            self._waiting.add(_place(member, reading, end))
        return Chunk(tuple(gather(parts)), end)

    def _ahead(self, group: Group, reading: Reading) -> tuple[Iterable[tuple[int, Change]], int]:
        """Return the changes to look at next, each with its number, and the number below which no other is wanted."""
        window, at = self._window, reading.at
        stretch = None if group.asks or reading.sees_all else self._stretches.at(at, readers=len(self._members))
        if stretch is None or group.scan is None:
            count = min(_CHUNK_CHANGES, group.concerned_at + 1 - at) if group.asks else _CHUNK_CHANGES
            changes = window.changes_from(at, count)
            return enumerate(changes, at), at + len(changes)

        def is_whole(table: Table) -> bool:
            return self._sights.judge(table).access(group.role).is_whole

        numbers = group.scan.candidates(stretch, at, _CHUNK_CHANGES, is_whole)
        end = stretch.end if len(numbers) < _CHUNK_CHANGES else numbers[-1] + 1
        return ((number, window.change(number)) for number in numbers), end

    def _has_read_all(self, member: Member, reading: Reading) -> None:
        """Make a member level that has everything the window has, unless it has to go on reading."""
        if reading.until > self.passed_lsn:
            return
        # What comes now is after its join, and after whatever it asked for. Rules would fail it in the end: a snapshot
        # tells 32-bit transaction ids apart only near its own time.
        reading.rules = None
        if not member.group.pending and not member.group.asks:
            self.stop(member)
            self.when_level(member)

    def _frames(self, group: Group, change: Change, found: Found, access: Access) -> Iterator[tuple[bytes, ...]]:
        if not found.ids and not found.left:
            return
        views = Views(self._payloads, change, as_text=self._as_text)
        for ids, is_left in ((found.ids, False), (found.left, True)):
            if ids:
                for key, data in views.messages(group, ids, access, is_left=is_left):
                    yield group.frame(key, data)


_NOBODY = Found((), ())


def _place(member: Member, reading: Reading, number: int) -> tuple[Group | Member, int]:
    """Return who reads from a number on: a group, or a member that has rules of its own."""
    return (member.group if reading.rules is None else member), number


def _found(group: Group, reading: Reading, change: Change, access: Access) -> Found | None:
    """Match one change with the bindings of one member; None while Postgres has not answered."""
    rules = reading.rules

    def may_want(entry: Entry) -> bool:
        rule = rules.get(entry.id) if rules is not None else None
        return rule is None or rule(change)

    if group.scan is None or access.denies(change.kind):
        return _NOBODY
    if access.refuses(change.kind):
        concerned = set(group.concerned(change))
        ids = (entry.id for entry in group.signature.entries if entry.id in concerned and may_want(entry))
        return Found(tuple(dict.fromkeys(ids)), ())
    found = group.scan.match(change, may_want)
    if found is None or access.columns is None:
        return found
    return Found(group.unguessed(found.ids, access.columns), group.unguessed(found.left, access.columns))
