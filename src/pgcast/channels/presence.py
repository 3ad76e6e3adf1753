"""Who is present in one room: one presence per channel that tracks itself, several under one key.

Members are told of changes once per tick, as the difference between what the last tick left them with and what is true
now: who comes and goes within one tick is not mentioned, who changes twice is one change. Who begins to watch gets the
state as the last tick left it, and then the same difference as everybody else; so a state is encoded once per tick,
however many begin to watch in it.

What is large is told in parts, because some clients refuse large frames: a state that lacks some, and the others as a
difference after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from pgcast.frames.reading import write

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

PART_BYTES: Final = 500_000
"""About how long a part may be; the Python client refuses frames of more than 1 MiB."""


@dataclass(frozen=True, slots=True)
class Meta:
    """One version of one presence.

    Attributes:
        key: Under which name it is known.
        ref: The `phx_ref`: no other version of any presence has it.
        members: What the client tells of itself: the members of a JSON object, without its braces.
    """

    key: str
    ref: str
    members: bytes

    def text(self, previous: Meta | None = None) -> bytes:
        """Return it as a JSON object; a previous version is named in it."""
        before = b"" if previous is None else b',"phx_ref_prev":%b' % write(previous.ref)
        return b'{"phx_ref":%b%b%b%b}' % (write(self.ref), before, b"," if self.members else b"", self.members)


Texts: TypeAlias = "dict[str, list[bytes]]"


class Presences:
    """The presences of one room.

    Args:
        next_ref: Returns a text that it has never returned before.
    """

    __slots__ = ("_before", "_next_ref", "_now", "_shown", "_state")

    def __init__(self, next_ref: Callable[[], str]) -> None:
        self._next_ref = next_ref
        self._now: dict[Hashable, Meta] = {}
        self._shown: dict[Hashable, Meta] = {}
        self._before: dict[Hashable, Meta | None] = {}  # of whom something changed in this tick: what is shown
        self._state: tuple[bytes, ...] | None = None

    def __len__(self) -> int:
        return len(self._now)

    def track(self, owner: Hashable, key: str, members: bytes) -> bool:
        """Say what a channel tells of itself.

        Args:
            owner: The channel.
            key: Its presence key; the same in each call.
            members: The members of a JSON object, without its braces, in an order that is always the same.

        Returns:
            Whether that is something new.
        """
        current = self._now.get(owner)
        if current is not None and current.members == members:
            return False
        self._before.setdefault(owner, current)
        self._now[owner] = Meta(key, self._next_ref(), members)
        return True

    def untrack(self, owner: Hashable) -> bool:
        """Say that a channel is not present any more.

        Returns:
            Whether it was.
        """
        current = self._now.pop(owner, None)
        if current is None:
            return False
        self._before.setdefault(owner, current)
        return True

    def state(self) -> tuple[bytes, ...]:
        """Return what the last tick left everybody with.

        Returns:
            The text of a JSON object by key; after it, where that would be too large, differences that complete it.
        """
        if self._state is None:
            first, *more = _split((None, meta) for meta in self._shown.values())
            self._state = (_object(first[0]), *(_difference(*part) for part in more))
        return self._state

    def take_difference(self) -> list[bytes]:
        """End the tick.

        Returns:
            What has changed since the last one, the text of a JSON object, or of several where that would be too
            large; nothing if nothing has.
        """
        changes: list[tuple[Meta | None, Meta | None]] = []
        for owner, before in self._before.items():
            now = self._now.get(owner)
            if now is before:
                continue
            changes.append((before, now))
            if now is None:
                del self._shown[owner]
            else:
                self._shown[owner] = now
        self._before.clear()
        if not changes:
            return []
        self._state = None
        return [_difference(*part) for part in _split(changes)]


def _split(changes: Iterable[tuple[Meta | None, Meta | None]]) -> Iterator[tuple[Texts, Texts]]:
    """Yield joins and leaves of versions before and after a change, in parts; at least one part."""
    joins: Texts = {}
    leaves: Texts = {}
    size = 0
    for before, now in changes:
        if size > PART_BYTES:
            yield joins, leaves
            joins, leaves, size = {}, {}, 0
        if before is not None:
            text = before.text()
            leaves.setdefault(before.key, []).append(text)
            size += len(text) + len(before.key)
        if now is not None:
            text = now.text(before)
            joins.setdefault(now.key, []).append(text)
            size += len(text) + len(now.key)
    yield joins, leaves


def _difference(joins: Texts, leaves: Texts) -> bytes:
    return b'{"joins":%b,"leaves":%b}' % (_object(joins), _object(leaves))


def _object(metas: Mapping[str, Sequence[bytes]]) -> bytes:
    return b"{%b}" % b",".join(b'%b:{"metas":[%b]}' % (write(key), b",".join(texts)) for key, texts in metas.items())
