"""How far each client that said who it is has *received*: from there it goes on when it comes back.

A client is known by its resume identity: an id of the application's choice (the parameter `resume` of the socket's URL)
or, where the settings say so, its token's subject. For each of its topics a mark says up to which change it has
acknowledged everything. When its connection is gone the mark is kept for the window's age; what is older than the
window could not be served anyway.

It also says who could not take a large message: a client that meets one ends its connection, comes back, and would meet
it again for ever. Such an identity gets large changes shortened.

An application gives each client an id of its own, so of one id the newest mark counts. One subject may be several
devices with the same topics: for it the oldest mark of those that are gone counts, so that each of them gets at least
what it lacks; repeats carry their position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgcast.model.lsn import Lsn
from pgcast.model.position import Position

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_MARKS = 200_000
"""Over it the oldest marks go: their clients start from now on, as those without an identity do."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a client says it is.

    Attributes:
        name: The application's id, or the token's subject.
        is_shared: Whether several devices may go by this name.
    """

    name: str
    is_shared: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a mark belongs to: the same client, with the same topic and the same bindings.

    Attributes:
        identity: Whose.
        topic: The full topic.
        bindings: A fingerprint of the bindings.
    """

    identity: Identity
    topic: str
    bindings: str


class Mark:
    """One channel's acknowledged position.

    Attributes:
        wanted: What it belongs to.
        position: Everything up to this change has been received.
        gone_at_s: When its connection ended; None while it lives.
    """

    __slots__ = ("gone_at_s", "position", "wanted")

    def __init__(self, wanted: Wanted, position: Position) -> None:
        self.wanted = wanted
        self.position = position
        self.gone_at_s: float | None = None


class Acknowledged:
    """All marks of a node.

    Args:
        keep_s: How long a mark outlives its connection.
        max_marks: How many are kept.

    Attributes:
        is_changed: Whether something has to be written down; reset by whoever writes.
    """

    def __init__(self, keep_s: float, max_marks: int = MAX_MARKS) -> None:
        self._keep_s = keep_s
        self._max_marks = max_marks
        self._marks: dict[Mark, None] = {}
        self._by_wanted: dict[Wanted, dict[Mark, None]] = {}
        self._limited: dict[
            Identity, float
        ] = {}  # those who get large changes shortened, and when they were last there
        self.is_changed = False

    def __len__(self) -> int:
        return len(self._marks)

    def find(self, wanted: Wanted) -> Position | None:
        """Return from where a client that comes back goes on; None if nothing is known of it."""
        marks = self._by_wanted.get(wanted)
        if not marks:
            return None
        if not wanted.identity.is_shared:
            return next(reversed(marks)).position
        gone = [mark.position for mark in marks if mark.gone_at_s is not None]
        return min(gone, default=None)

    def start(self, wanted: Wanted, position: Position) -> Mark:
        """Begin to keep a mark for a channel that has just joined."""
        mark = Mark(wanted, position)
        mine = self._by_wanted.setdefault(wanted, {})
        if not wanted.identity.is_shared:
            for before in list(mine):
                self._forget(before)
            mine = self._by_wanted.setdefault(wanted, {})
        mine[mark] = None
        self._marks[mark] = None
        if len(self._marks) > self._max_marks:
            self._forget(next(iter(self._marks)))
        self.is_changed = True
        return mark

    def advance(self, mark: Mark, position: Position) -> None:
        """Note that a client has received everything up to a change; never backwards within one history."""
        if position.epoch != mark.position.epoch or position > mark.position:
            mark.position = position
            self.is_changed = True

    def gone(self, mark: Mark, now_s: float) -> None:
        """Keep a mark for a while: its connection is gone, or its channel has ended."""
        if mark in self._marks:
            mark.gone_at_s = now_s
            # The longest gone stand first.
            self._marks[mark] = self._marks.pop(mark)

    def limit(self, identity: Identity, now_s: float) -> None:
        """Remember that a client, which has just gone, gets large changes shortened from now on."""
        self._limited.pop(identity, None)
        self._limited[identity] = now_s
        if len(self._limited) > self._max_marks:
            del self._limited[next(iter(self._limited))]
        self.is_changed = True

    def is_limited(self, identity: Identity | None) -> bool:
        """Say whether a client gets large changes shortened."""
        return identity in self._limited

    def expire(self, now_s: float) -> None:
        """Forget those who stayed away too long."""
        while self._limited and now_s - next(iter(self._limited.values())) > self._keep_s:
            del self._limited[next(iter(self._limited))]
        expired = [mark for mark in self._marks if mark.gone_at_s is not None and now_s - mark.gone_at_s > self._keep_s]
        for mark in expired:
            self._forget(mark)

    def dump(self) -> list[list[Any]]:
        """Return all marks, and those who get large changes shortened, as plain values, for `load`."""
        return [[identity.name, identity.is_shared] for identity in self._limited] + [
            [
                mark.wanted.identity.name,
                mark.wanted.identity.is_shared,
                mark.wanted.topic,
                mark.wanted.bindings,
                *_flat(mark),
            ]
            for mark in self._marks
        ]

    def load(self, rows: Iterable[list[Any]], now_s: float) -> None:
        """Take over what `dump` returned in an earlier run: all of its connections are gone.

        Raises:
            ValueError: A row is none of `dump`'s; those before it have been taken over.
        """
        for name, is_shared, *mark in _checked(rows):
            if not mark:
                self.limit(Identity(name, is_shared), now_s)
                continue
            topic, bindings, epoch, commit_lsn, index = mark
            wanted = Wanted(Identity(name, is_shared), topic, bindings)
            self.gone(self.start(wanted, Position(epoch, Lsn(commit_lsn), index)), now_s)

    def _forget(self, mark: Mark) -> None:
        del self._marks[mark]
        same = self._by_wanted[mark.wanted]
        del same[mark]
        if not same:
            del self._by_wanted[mark.wanted]
        self.is_changed = True


@dataclass(slots=True)
class Memory:
    """What the node remembers of clients that said who they are.

    Attributes:
        acknowledged: How far each has received.
        keep_s: How long a mark outlives its connection.
        blank_until_s: Until then an unknown identity may belong to a client from before a restart that forgot it: it
            gets all that the window holds.
    """

    acknowledged: Acknowledged
    keep_s: float
    blank_until_s: float = 0.0


def _flat(mark: Mark) -> tuple[str, int, int]:
    position = mark.position
    return position.epoch, position.commit_lsn, position.index


_ROWS = ((str, bool), (str, bool, str, str, str, int, int))


def _checked(rows: Iterable[list[Any]]) -> Iterator[list[Any]]:
    for row in rows:
        if not isinstance(row, list) or tuple(map(type, row)) not in _ROWS:
            raise ValueError("not a mark")
        yield row
