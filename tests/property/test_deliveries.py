"""Whoever is slow, leaves or comes back in between: what was sent comes once, in order, and nothing is left behind."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from random import Random

import pytest
from making import change, table, transaction
from memory_outlet import MemoryOutlet

from pgcast.changes.payload import Payloads
from pgcast.engine.groups import Member as Follower
from pgcast.engine.groups import Reading, Signature
from pgcast.engine.hold import Hold
from pgcast.engine.hub import Hub, HubLimits
from pgcast.engine.rooms import Member, RoomKey, Rooms
from pgcast.fanout.ring import RingBudget
from pgcast.frames.broadcast import Broadcast
from pgcast.frames.codec import serializer_for
from pgcast.matching.index import ROW_KINDS, Entry
from pgcast.model.lsn import Lsn

SEEDS = range(12)
TOPICS = "abcd"
VERSIONS = ("1.0.0", "2.0.0")
TODOS = table()


@pytest.fixture(autouse=True)
def in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices and portions so small that a few connections take several."""
    monkeypatch.setattr("pgcast.engine.deliveries.SLICE_SOCKETS", 3)
    monkeypatch.setattr("pgcast.engine.flusher.SLICE_SOCKETS", 3)
    monkeypatch.setattr("pgcast.engine.audiences.CATCH_UP_BYTES", 300)
    monkeypatch.setattr("pgcast.engine.flusher._CATCH_UP_BYTES", 500)


class Crowd(ABC):
    """A dozen connections that come and go, on four topics; some are slow."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.outlets = [self._connect() for _ in range(12)]
        self.gap_s = self.random.choice([0, 0.0005])
        self.ring_bytes = self.random.choice([800, 50_000])
        self.rings_bytes = self.random.choice([3000, 100_000])
        self._actions = {
            self.enter: 20,
            self.leave: 8,
            self.publish: 40,
            self.resume: 20,
            self.pause: 5,
            self.leave_all: 4,
        }

    def _connect(self) -> MemoryOutlet:
        return MemoryOutlet(high_bytes=self.random.choice([None, None, 700]))

    async def live(self, steps: int) -> None:
        """Do so much, then let everybody catch up."""
        for _ in range(steps):
            (act,) = self.random.choices(list(self._actions), self._actions.values())
            act(self.random.choice(self.outlets), self.random.choice(TOPICS))
            if self.random.random() < 0.5:
                await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0.0005)
            for outlet in self.outlets:
                outlet.is_paused = True
                self.resume(outlet)

    @abstractmethod
    def enter(self, outlet: MemoryOutlet, topic: str) -> None: ...

    @abstractmethod
    def leave(self, outlet: MemoryOutlet, topic: str) -> None: ...

    @abstractmethod
    def publish(self, outlet: MemoryOutlet, topic: str) -> None: ...

    @abstractmethod
    def resumed(self, outlet: MemoryOutlet) -> None: ...

    def resume(self, outlet: MemoryOutlet, topic: str = "") -> None:
        del topic
        if outlet.is_paused:
            outlet.drain()
            self.resumed(outlet)

    def pause(self, outlet: MemoryOutlet, topic: str) -> None:
        del topic
        outlet.is_paused = True

    def leave_all(self, outlet: MemoryOutlet, topic: str) -> None:
        """The connection ends; another one takes its place."""
        del topic
        for one in TOPICS:
            self.leave(outlet, one)
        self.outlets[self.outlets.index(outlet)] = self._connect()


class Chatters(Crowd):
    """Those in rooms, each with what it has to get."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.budget = RingBudget(self.rings_bytes)
        self.rooms = Rooms(self.ring_bytes, self.budget, gap_s=self.gap_s, hold=Hold(0.01))
        self.members: dict[tuple[MemoryOutlet, str], tuple[Member, list[int]]] = {}
        self._published = 0

    def enter(self, outlet: MemoryOutlet, topic: str) -> None:
        if (outlet, topic) not in self.members:
            serializer = serializer_for(VERSIONS[self.outlets.index(outlet) % 2])
            self.members[outlet, topic] = self.rooms.enter(RoomKey(topic, is_private=False), outlet, serializer), []

    def leave(self, outlet: MemoryOutlet, topic: str) -> None:
        if (outlet, topic) in self.members:
            self.rooms.leave(self.members.pop((outlet, topic))[0])

    def publish(self, outlet: MemoryOutlet, topic: str) -> None:
        self._published += 1
        text = json.dumps({"n": self._published, "more": "x" * self.random.randrange(120)}).encode()
        sender, _ = self.members.get((outlet, topic), (None, None))
        holds = self.random.random() < 0.3
        self.rooms.publish(RoomKey(topic, is_private=False), Broadcast("", verbatim=text), skip=sender, holds=holds)
        for (_, of), (member, expected) in self.members.items():
            if of == topic and member is not sender:
                expected.append(self._published)

    def resumed(self, outlet: MemoryOutlet) -> None:
        self.rooms.resumed([member for (of, _), (member, _) in self.members.items() if of is outlet])


class Followers(Crowd):
    """Those who follow changes, each with the place of its join."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        limits = HubLimits(
            flush_gap_s=self.gap_s,
            ring_bytes=self.ring_bytes,
            rings_bytes=self.rings_bytes,
            window_bytes=self.random.choice([20_000, 10_000_000]),
            hold_s=0.01,
        )
        self.hub = Hub(Payloads(), limits)
        self.members: dict[tuple[MemoryOutlet, str], tuple[Follower, int]] = {}
        self.changes: list[tuple[int, int]] = []
        self.now_lsn = 100

    def enter(self, outlet: MemoryOutlet, topic: str) -> None:
        if (outlet, topic) not in self.members:
            signature = Signature("2.0.0", f"realtime:{topic}", (Entry(1, ROW_KINDS),), is_legacy=False)
            until = Lsn(self.random.choice([0, self.now_lsn, self.now_lsn + 150]))
            member = self.hub.join(
                outlet, signature, serializer_for("2.0.0"), Reading(self.hub.window.end, until=until)
            )
            self.members[outlet, topic] = member, self.now_lsn

    def leave(self, outlet: MemoryOutlet, topic: str) -> None:
        if (outlet, topic) in self.members:
            self.hub.leave(self.members.pop((outlet, topic))[0])

    def publish(self, outlet: MemoryOutlet, topic: str) -> None:
        del outlet, topic
        self.now_lsn += 100
        one = transaction(self.now_lsn)
        for index in range(self.random.randrange(1, 4)):
            self.hub.publish(change(one, index, on=TODOS), 50, now_s=0)
            self.changes.append((self.now_lsn, index))
        self.hub.commit(Lsn(self.now_lsn + 5))
        self.hub.batch_done(0)

    def resumed(self, outlet: MemoryOutlet) -> None:
        self.hub.resumed(outlet)


@pytest.mark.parametrize("seed", SEEDS)
async def test_broadcasts(seed: int):
    crowd = Chatters(seed)
    await crowd.live(500)
    for (outlet, topic), (_, expected) in crowd.members.items():
        parsed = [(m["topic"], m["payload"]) if isinstance(m, dict) else (m[2], m[4]) for m in outlet.messages]
        got = [payload["n"] for of, payload in parsed if of == f"realtime:{topic}"]
        assert outlet.closed is not None or got[len(got) - len(expected) :] == expected
        assert len(set(got)) == len(got)
    for outlet in list(crowd.outlets):
        crowd.leave_all(outlet, "")
    assert (len(crowd.rooms), crowd.rooms.pending_bytes, crowd.budget.total_bytes) == (0, 0, 0)


@pytest.mark.parametrize("seed", SEEDS)
async def test_changes(seed: int):
    crowd = Followers(seed)
    await crowd.live(300)
    hub = crowd.hub
    hub.commit(Lsn(crowd.now_lsn + 1000))
    await crowd.live(0)
    for (outlet, topic), (_, since_lsn) in crowd.members.items():
        positions = [m[4]["data"]["position"].split("-") for m in outlet.messages if m[2] == f"realtime:{topic}"]
        got = [(int(lsn, 16), int(index, 16)) for _, lsn, index in positions if int(lsn, 16) > since_lsn]
        assert outlet.closed is not None or got == [place for place in crowd.changes if place[0] > since_lsn]
    for outlet in crowd.outlets:
        hub.gone(outlet)
    assert (hub.member_count, hub.group_count, hub.ring_bytes, len(hub.readers)) == (0, 0, 0, 0)
    assert not hub.is_holding
