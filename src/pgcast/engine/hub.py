"""Where changes meet those who want them: the window, the index, the groups and their members.

The hub is the one object that the pipeline hands changes to, that joins and leaves go to, and that outlets tell when
they can take more. Everything in it happens on one event loop, and nothing in it waits.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pgcast.engine.flusher import Flusher
from pgcast.engine.groups import Group, Member
from pgcast.engine.hold import Hold
from pgcast.engine.resume import Readers
from pgcast.engine.sights import Sights
from pgcast.engine.sinks import Sinks
from pgcast.engine.views import Views
from pgcast.fanout.ring import Ring, RingBudget
from pgcast.fanout.window import Window
from pgcast.matching.index import Index
from pgcast.model.change import Kind
from pgcast.model.served import ServedTopics

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgcast.changes.payload import Payloads
    from pgcast.engine.groups import Reading, Signature
    from pgcast.engine.hold import Waiting
    from pgcast.engine.ports import FrameText, Outlet
    from pgcast.engine.sights import Access, Judgement
    from pgcast.matching.index import Entry, Match
    from pgcast.model.change import Change
    from pgcast.model.lsn import Lsn


@dataclass(frozen=True, slots=True)
class HubLimits:
    """The hub's bounds.

    Attributes:
        ring_bytes: One group's ring.
        rings_bytes: All rings together.
        window_bytes: The window.
        window_s: The window's age.
        flush_gap_s: From the end of one flush to the next, at the earliest.
        hold_s: The longest pause of reading for one group, at a stretch.
        legacy_as_text: Whether the oldest protocol's values go out as Postgres' text.
    """

    ring_bytes: int = 8 << 20
    rings_bytes: int = 256 << 20
    window_bytes: int = 64 << 20
    window_s: float = 120.0
    flush_gap_s: float = 0.005
    hold_s: float = 30.0
    legacy_as_text: bool = False


class Hub:
    """All groups of the node.

    Args:
        payloads: What turns a change into the JSON of its message.
        limits: The bounds.
    """

    def __init__(self, payloads: Payloads, limits: HubLimits) -> None:
        self.window = Window(limits.window_bytes, limits.window_s)
        self.hold = Hold(limits.hold_s)
        self.sinks = Sinks()
        self.served = ServedTopics()  # may be replaced; counts for later joins
        self.sights = Sights()
        self.readers = Readers(self.window, payloads, self.sights, as_text=limits.legacy_as_text)
        self.flusher = Flusher(self.window, self.readers, self.hold, gap_s=limits.flush_gap_s)
        self.readers.when_level = self.flusher.make_level
        self.readers.when_served = self._ease
        self._payloads = payloads
        self._limits = limits
        self.budget = RingBudget(limits.rings_bytes)
        self._index: Index[Group] = Index()
        self._leaving: Index[Group] = Index()  # of the entries that want to know when a row leaves
        self._tells_left = False  # whether there is one
        self._unfiltered: Index[Group] = Index()  # of the filtered entries of roles: errors pass by the filters
        self._asking: Index[Group] = Index()  # of all entries of groups that ask Postgres, without their filters
        self._asks = False  # whether there is one
        self._groups: dict[Signature, Group] = {}
        self._members: dict[Outlet, dict[Member, None]] = {}

    # fast path: per change
    def publish(self, change: Change, size_bytes: int, now_s: float) -> None:
        """Take over one committed change: into the window, and into the pending tick of every group that wants it.

        Args:
            change: The change.
            size_bytes: How long it was in the WAL.
            now_s: The loop's time, a few milliseconds old at most.
        """
        self.window.append(change, size_bytes, now_s)
        current = None
        judgement = self.sights.judge(change.table)
        whole = judgement.whole
        matched = self._index.match(change) if self._groups else ()
        has_others = bool(judgement.refused and self._unfiltered)
        for group, ids in matched:
            if not group.has_one_view or group.role not in whole:
                has_others = True
                continue
            if not group.level and not group.behind:
                continue  # those who read the window find it there
            if not group.pending:
                group.pending_from = self.window.end - 1
                self.flusher.note_dirty(group)
            if current is None:
                current = self._payloads.current(change)
            self.flusher.pending_bytes += group.add(ids, current)
        if has_others:
            self._publish_others(change, judgement, matched)
        if self._tells_left and change.kind is Kind.UPDATE:
            self._publish_left(change, judgement)
        if self._asks:
            self._note_concerned(change)
        if self.sinks.is_used:
            self.sinks.take(change)

    def commit(self, end_lsn: Lsn) -> None:
        """Note that the transaction of the last changes is complete; it ends at `end_lsn`."""
        self.window.commit(end_lsn)
        self.sinks.commit()
        self.passed(end_lsn)

    def commit_late(self) -> None:
        """Note that what was missing of an earlier transaction is complete."""
        self.window.break_off()
        self.sinks.commit()

    def break_off(self) -> None:
        """Note that the stream broke, perhaps inside a transaction: what is missing of it comes later."""
        self.window.break_off()
        self.sinks.break_off()

    @property
    def confirmable(self) -> Lsn:
        """Up to where everything is taken over by all who want it, and past the window."""
        return self.sinks.limit(self.window.confirmable)

    @property
    def is_holding(self) -> bool:
        """Whether reading pauses for the sake of somebody."""
        return self.hold.is_on or self.sinks.is_waiting

    def _publish_others(self, change: Change, judgement: Judgement, matched: Sequence[Match[Group]]) -> None:
        """Tell those who do not get the change as it is: in other shapes, some columns, an error, or nothing."""
        views = Views(self._payloads, change, as_text=self._limits.legacy_as_text)
        told: set[Group] = set()
        for group, ids in matched:
            access = judgement.access(group.role)
            if access.refuses(change.kind):
                told.add(group)
                self._add(group, views, group.concerned(change), access)
            elif not (group.has_one_view and access.is_whole) and not access.denies(change.kind):
                self._add(group, views, group.unguessed(ids, access.columns), access)
        for group, _ in self._unfiltered.match(change) if judgement.refused else ():
            access = judgement.access(group.role)
            if group not in told and access.refuses(change.kind):
                self._add(group, views, group.concerned(change), access)

    def _note_concerned(self, change: Change) -> None:
        """Have those look at a change in the window who have to ask Postgres whether they want it."""
        number = self.window.end - 1
        for group, _ in self._asking.match(change):
            group.note_concern(number)

    def _publish_left(self, change: Change, judgement: Judgement) -> None:
        """Tell those whose filter a row has left by an UPDATE, if they want to know."""
        views = Views(self._payloads, change, as_text=self._limits.legacy_as_text)
        for group, ids in self._leaving.match_left(change):
            access = judgement.access(group.role)
            if not access.denies(change.kind) and not access.refuses(change.kind):
                self._add(group, views, group.unguessed(ids, access.columns), access, is_left=True)

    def _add(self, group: Group, views: Views, ids: tuple[int, ...], access: Access, *, is_left: bool = False) -> None:
        """Append to the pending tick of a group what it gets of a change."""
        if not ids or (not group.level and not group.behind):
            return
        if not group.pending:
            group.pending_from = self.window.end - 1
            self.flusher.note_dirty(group)
        for key, data in views.messages(group, ids, access, is_left=is_left):
            self.flusher.pending_bytes += group.add(key, data)

    def batch_done(self, now_s: float) -> None:
        """End the tick if it may end, and trim the window; after each batch of envelopes."""
        self.flusher.flush_when_due()
        self.trim(now_s)
        if len(self.readers):
            self.readers.serve_soon()

    def trim(self, now_s: float) -> None:
        """Trim the window; what is over its limits and somebody still needs stays, and the stream waits for them."""
        needed = {group: at for group, at in self.readers.needed().items() if self.hold.may_hold(group)}
        over = self.window.trim(now_s, min(needed.values(), default=None))
        for group, at in needed.items():
            if at < over:
                self.hold.begin(group, until=max(over, (self.window.start + self.window.end) // 2))

    def passed(self, lsn: Lsn) -> None:
        """Note that everything that commits below `lsn` has been published."""
        self.readers.passed(lsn)

    def join(self, outlet: Outlet, signature: Signature, serializer: FrameText, reading: Reading) -> Member:
        """Make a member, and serve it from the window until it is level."""
        group = self._groups.get(signature)
        if group is None:
            group = Group(signature, serializer, Ring(self._limits.ring_bytes, self.budget))
            self._groups[signature] = group
            if group.asks:
                group.concerned_at = self.window.end - 1  # of what is there already nobody knows
                self._asking.add(group, _without_filters(signature.entries))
                self._asks = True
            else:
                self._index.add(group, signature.entries)
                self._unfiltered.add(group, _unfiltered(signature))
                self._leaving.add(group, _leaving(signature))
                self._tells_left = bool(self._leaving)
        member = Member(outlet, group)
        self._members.setdefault(outlet, {})[member] = None
        outlet.members += 1
        self.readers.start(member, reading)
        return member

    def leave(self, member: Member) -> None:
        """Forget a member; twice is safe."""
        mine = self._members.get(member.outlet)
        if mine is None or member not in mine:
            return
        del mine[member]
        if not mine:
            del self._members[member.outlet]
        member.outlet.members -= 1
        group = member.group
        self.readers.stop(member)
        group.level.pop(member, None)
        group.behind.pop(member, None)
        if not group.behind:
            self.hold.release(group)
        # Who was sent away for being slow is in none of its sets, and may leave after the group was forgotten.
        if group.is_empty and self._groups.get(group.signature) is group:
            if group.asks:
                self._asking.remove(group, _without_filters(group.signature.entries))
                self._asks = bool(self._asking)
            else:
                self._index.remove(group, group.signature.entries)
                self._unfiltered.remove(group, _unfiltered(group.signature))
                self._leaving.remove(group, _leaving(group.signature))
                self._tells_left = bool(self._leaving)
            del self._groups[group.signature]
            group.pending.clear()
            group.ring.clear()

    def gone(self, outlet: Outlet) -> None:
        """Forget all members of a connection that has ended."""
        for member in list(self._members.get(outlet, ())):
            self.leave(member)

    def written_to(self, member: Member) -> int | None:
        """Return the number, in the window, up to which everything has been written to a member's outlet.

        None while a flush is between two of its slices: ask again later.
        """
        return None if self.flusher.is_writing else self.written_at_least_to(member)

    def written_at_least_to(self, member: Member) -> int:
        """Return that number; while a flush is between two of its slices, one that is not above it."""
        group = member.group
        if member.reading is not None:
            return member.reading.at
        if member in group.behind:
            return member.window_at
        if self.flusher.is_writing:
            return self.flusher.writes_from
        return group.pending_from if group.pending else self.window.end

    def resumed(self, outlet: Outlet) -> None:
        """Serve what an outlet missed, now that it takes bytes again."""
        for member in list(self._members.get(outlet, ())):
            if outlet.is_paused:
                return
            member.group.is_stalled = False
            if member in member.group.behind:
                self.flusher.serve_behind(member)
        self.readers.serve_soon()

    @property
    def is_full(self) -> bool:
        """Whether to await `may_read` before the next change, also in the middle of a batch."""
        return self.flusher.pending_bytes > self.flusher.full_bytes

    async def may_read(self) -> None:
        """Return when there is room for more changes; other tasks get their turn meanwhile, and at least one."""
        if self.is_full:
            self.flusher.flush_now()
        await asyncio.sleep(0)
        while self.is_full:
            await asyncio.sleep(0)  # a flush is being written, slice by slice
            self.flusher.flush_now()
        if self.hold.is_on:
            await self.hold.wait()
        if self.sinks:
            await self.sinks.wait_for_room()

    def _ease(self) -> None:
        """Let the stream go on that waited for those who read the window, once they have come far enough."""
        if not self.hold.is_on:
            return
        needed: dict[Waiting, int] = {group: at for group, at in self.readers.needed().items()}  # noqa: C416 - a wider key
        for group in self.hold.groups():
            self.hold.passed(group, needed.get(group, self.window.end))
        self.trim(asyncio.get_running_loop().time())

    @property
    def member_count(self) -> int:
        """How many channels are joined."""
        return sum(len(members) for members in self._members.values())

    @property
    def group_count(self) -> int:
        """How many different sets of frames are made."""
        return len(self._groups)

    @property
    def ring_bytes(self) -> int:
        """What all rings hold."""
        return self.budget.total_bytes


def _leaving(signature: Signature) -> tuple[Entry, ...]:
    return tuple(entry for entry in signature.entries if entry.leave and entry.conditions)


def _unfiltered(signature: Signature) -> tuple[Entry, ...]:
    """Return the filtered entries of a role without their filters; those that have none are in the index as it is."""
    if signature.role is None:
        return ()
    return _without_filters(entry for entry in signature.entries if entry.conditions)


def _without_filters(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(replace(entry, conditions=()) for entry in entries)
