"""Who is present in one room: one presence per channel that tracks itself, several under one key.

Members are told of changes once per tick, as the difference between what the last tick left them with and what is true
now: who comes and goes within one tick is not mentioned, who changes twice is one change. Who begins to watch gets the
state as the last tick left it, and then the same difference as everybody else; so a state is encoded once per tick,
however many begin to watch in it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgcast.frames.reading import write

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence


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


class Presences:
    """The presences of one room.

    Args:
        next_ref: Returns a text that it has never returned before.
    """

    __slots__ = ("_before", "_entries", "_next_ref", "_now", "_shown", "_stale", "_state")

    def __init__(self, next_ref: Callable[[], str]) -> None:
        self._next_ref = next_ref
        self._now: dict[Hashable, Meta] = {}
        self._before: dict[Hashable, Meta | None] = {}  # of whom something changed in this tick: what was shown
        self._shown: dict[str, dict[Hashable, Meta]] = {}
        self._entries: dict[str, bytes] = {}  # each key of what is shown, as text
        self._stale: set[str] = set()  # keys whose text is to be made anew
        self._state: bytes | None = b"{}"

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

    def state(self) -> bytes:
        """Return what the last tick left everybody with, the text of a JSON object."""
        if self._state is None:
            for key in self._stale:
                metas = self._shown.get(key)
                if metas is None:
                    self._entries.pop(key, None)
                else:
                    self._entries[key] = _entry(key, [meta.text() for meta in metas.values()])
            self._stale.clear()
            self._state = b"{%b}" % b",".join(self._entries.values())
        return self._state

    def take_difference(self) -> bytes | None:
        """End the tick.

        Returns:
            What has changed since the last one, the text of a JSON object; None if nothing has.
        """
        joins: defaultdict[str, list[bytes]] = defaultdict(list)
        leaves: defaultdict[str, list[bytes]] = defaultdict(list)
        for owner, before in self._before.items():
            now = self._now.get(owner)
            if now is before:
                continue
            if before is not None:
                leaves[before.key].append(before.text())
                self._hide(owner, before.key)
            if now is not None:
                joins[now.key].append(now.text(before))
                self._shown.setdefault(now.key, {})[owner] = now
                self._stale.add(now.key)
        self._before.clear()
        if not joins and not leaves:
            return None
        self._state = None
        return b'{"joins":%b,"leaves":%b}' % (_object(joins), _object(leaves))

    def _hide(self, owner: Hashable, key: str) -> None:
        metas = self._shown[key]
        del metas[owner]
        if not metas:
            del self._shown[key]
        self._stale.add(key)


def _entry(key: str, metas: Sequence[bytes]) -> bytes:
    return b'%b:{"metas":[%b]}' % (write(key), b",".join(metas))


def _object(metas: Mapping[str, Sequence[bytes]]) -> bytes:
    return b"{%b}" % b",".join(_entry(key, texts) for key, texts in metas.items())
