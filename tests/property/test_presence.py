"""Any history of comings and goings: every member that follows it by the official clients' rules knows the truth."""

from __future__ import annotations

import asyncio
import copy
import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_outlet import MemoryOutlet

from pgcast.engine.rooms import Member, RoomKey, Rooms
from pgcast.fanout.ring import RingBudget
from pgcast.frames.codec import serializer_for
from pgcast.frames.message import Message
from pgcast.frames.websocket import text_frame

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

KEY = RoomKey("t", is_private=False)
SLOW_BYTES = 150

places = st.integers(0, 7)
steps = st.one_of(
    st.tuples(st.just("enters"), st.sampled_from("abc"), st.booleans(), st.booleans()),
    st.tuples(st.just("tracks"), places, st.integers(0, 3)),
    st.tuples(st.sampled_from(["untracks", "leaves", "watches", "drains"]), places),
    st.tuples(st.just("ticks")),
)


class Presence:
    """The rules by which the official clients merge what they are told."""

    def __init__(self) -> None:
        self.state: dict[str, Any] | None = None

    def takes(self, event: str, payload: Any) -> None:
        if event == "presence_state":
            assert self.state is None, "one state"
            self.state = payload
        else:
            assert self.state is not None, "no difference before the state"
            assert set(payload) == {"joins", "leaves"}
            self._joins(self.state, payload["joins"])
            self._leaves(self.state, payload["leaves"])

    def _joins(self, state: dict[str, Any], joins: dict[str, Any]) -> None:
        for key, joined in joins.items():
            present = state.get(key)
            state[key] = copy.deepcopy(joined)
            if present is not None:
                refs = {meta["phx_ref"] for meta in joined["metas"]}
                kept = [meta for meta in present["metas"] if meta["phx_ref"] not in refs]
                state[key]["metas"] = kept + state[key]["metas"]

    def _leaves(self, state: dict[str, Any], leaves: dict[str, Any]) -> None:
        for key, left in leaves.items():
            refs = {meta["phx_ref"] for meta in left["metas"]}
            assert refs <= {meta["phx_ref"] for meta in state[key]["metas"]}, "who leaves was there"
            state[key]["metas"] = [meta for meta in state[key]["metas"] if meta["phx_ref"] not in refs]
            if not state[key]["metas"]:
                del state[key]


@dataclass
class Client:
    key: str
    version: str
    outlet: MemoryOutlet
    member: Member
    tells: int | None = None
    is_watching: bool = False

    def knows(self) -> dict[str, list[int]]:
        presence = Presence()
        for message in self.outlet.messages:
            event, payload = (
                (message["event"], message["payload"]) if isinstance(message, dict) else (message[3], message[4])
            )
            presence.takes(event, payload)
        assert presence.state is not None
        return {
            key: sorted(meta["n"] for meta in entry["metas"]) for key, entry in presence.state.items() if entry["metas"]
        }


@dataclass
class World:
    rooms: Rooms = field(default_factory=lambda: Rooms(1 << 20, RingBudget(1 << 20), gap_s=0))
    clients: list[Client] = field(default_factory=list)

    def at(self, place: int) -> Client | None:
        return self.clients[place % len(self.clients)] if self.clients else None

    def enters(self, key: str, is_new: bool, is_slow: bool) -> None:  # noqa: FBT001 - drawn by place
        version = "2.0.0" if is_new else "1.0.0"
        outlet = MemoryOutlet(high_bytes=SLOW_BYTES if is_slow else None)
        member = self.rooms.enter(KEY, outlet, serializer_for(version))
        self.clients.append(Client(key, version, outlet, member))

    def tracks(self, place: int, number: int) -> None:
        if client := self.at(place):
            client.tells = number
            self.rooms.track(client.member, client.key, b'"n":%d' % number)

    def untracks(self, place: int) -> None:
        if client := self.at(place):
            client.tells = None
            self.rooms.untrack(client.member)

    def leaves(self, place: int) -> None:
        if client := self.at(place):
            self.clients.remove(client)
            self.rooms.leave(client.member)

    def watches(self, place: int) -> None:
        client = self.at(place)
        if client and not client.is_watching:
            client.is_watching = True
            (presences,) = self.rooms.watch(client.member)
            state = Message("1", None, "realtime:t", "presence_state", presences)
            client.outlet.write(text_frame(serializer_for(client.version).encode(state)))

    def drains(self, place: int) -> None:
        if client := self.at(place):
            client.outlet.drain()
            self.rooms.resumed([client.member])

    def ticks(self) -> None:
        self.rooms.flush_now()

    def truth(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for client in self.clients:
            if client.tells is not None:
                found.setdefault(client.key, []).append(client.tells)
        return {key: sorted(numbers) for key, numbers in found.items()}


@relaxed
@given(script=st.lists(steps, max_size=40))
def test_every_member_that_is_told_ends_with_the_truth(script: list[tuple[Any, ...]]):
    async def play() -> None:
        world = World()
        for act, *arguments in script:
            getattr(world, act)(*arguments)
        world.ticks()
        for place, client in enumerate(world.clients):
            while client.outlet.is_paused:
                world.drains(place)
        for client in world.clients:
            if client.is_watching:
                assert client.knows() == world.truth()

    asyncio.run(play())


def test_the_rules_of_the_model_are_those_of_the_clients():
    presence = Presence()
    presence.takes("presence_state", {"ada": {"metas": [{"phx_ref": "1"}, {"phx_ref": "2"}]}})
    presence.takes(
        "presence_diff",
        {
            "joins": {"ada": {"metas": [{"phx_ref": "3", "phx_ref_prev": "1"}]}, "bob": {"metas": [{"phx_ref": "4"}]}},
            "leaves": {"ada": {"metas": [{"phx_ref": "1"}]}},
        },
    )
    assert json.dumps(presence.state) == json.dumps(
        {
            "ada": {"metas": [{"phx_ref": "2"}, {"phx_ref": "3", "phx_ref_prev": "1"}]},
            "bob": {"metas": [{"phx_ref": "4"}]},
        }
    )
