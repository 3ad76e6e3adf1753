"""Clients that join, leave, renew tokens and vanish while everything about them is still being asked."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import TYPE_CHECKING, Any

import pgoutput
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from memory_outlet import MemoryOutlet
from memory_policies import EVERYTHING, NOTHING, MemoryPolicies
from memory_source import MemoryCatalog, MemorySource, MemoryStore, database

from pgcast.auth.keys import shared_secret
from pgcast.auth.tokens import Tokens
from pgcast.changes.payload import Payloads
from pgcast.channels.channel import State
from pgcast.engine.acknowledged import Identity
from pgcast.engine.authentication import Authenticator
from pgcast.engine.authorization import Authorization
from pgcast.engine.backoff import Backoff
from pgcast.engine.hub import HubLimits
from pgcast.engine.node import Node, NodeLimits
from pgcast.engine.ports import Asker, Permission
from pgcast.frames.codec import serializer_for
from pgcast.model.claims import Claims
from pgcast.model.errors import ConnectionFailed, DatabaseError, PoliciesUnavailable, StreamEnded
from pgcast.model.messages import MESSAGE_PREFIX, DatabaseMessage
from pgcast.model.sight import Sight
from pgcast.model.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgcast.engine.clients import Client

SECRET = "a secret of more than thirty-two characters"
NOW = 1_800_000_000.0
TODOS = {"event": "*", "schema": "public", "table": "todos"}
READS = Permission(broadcast=True, presence=False)
WATCHES = Permission(broadcast=False, presence=True)


class SlowCatalog(MemoryCatalog):
    """Takes its time, and fails now and then."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random
        self.roles = {"ada": {pgoutput.TODOS_OID: Sight()}, "bob": {pgoutput.TODOS_OID: Sight(frozenset({"id"}))}}

    async def _answer(self) -> None:
        await hesitate(self._random, ConnectionFailed("away"))


class SlowPolicies(MemoryPolicies):
    """Takes its time, fails now and then, and changes its mind."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random

    async def _answer(self, how: str, asker: Asker, by_role: dict[str, Permission]) -> Permission:
        del how, asker, by_role
        await hesitate(self._random, PoliciesUnavailable("away", reason="UnableToConnectToProject: away"))
        return self._random.choice([EVERYTHING, EVERYTHING, EVERYTHING, READS, WATCHES, NOTHING])


class SlowStore(MemoryStore):
    """Takes its time, and fails now and then."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random

    async def recent(self, topic: str, since_ms: int, limit: int) -> tuple[list[DatabaseMessage], Snapshot]:
        del since_ms, limit
        await hesitate(self._random, DatabaseError("away"))
        return [DatabaseMessage(topic, is_private=True, event="e", payload=b"1", raw=None, id="7")], self.seen


async def hesitate(random: Random, failure: Exception) -> None:
    for _ in range(random.randrange(6)):
        await asyncio.sleep(0)
    if random.random() < 0.04:
        raise failure


class Life:
    """A node, and clients that do anything."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.now_s = NOW
        self.source = MemorySource()
        memory = database(self.source, SlowCatalog(random), messages=SlowStore(random))
        limits = HubLimits(
            flush_gap_s=0,
            ring_bytes=random.choice([1000, 4000]),
            rings_bytes=random.choice([2000, 20_000]),
            window_bytes=random.choice([2000, 10_000_000]),
            hold_s=0.01,
        )
        authenticator = Authenticator(Tokens(shared_secret(SECRET)), None, lambda: self.now_s)
        authorization = Authorization(authenticator, SlowPolicies(random))
        self.node = Node(memory, Payloads(), NodeLimits(hub=limits), Backoff(0.001, 0.002), authorization)
        self.clients: dict[Client, MemoryOutlet] = {}
        self.commit_lsn = 100
        self._actions: dict[Callable[[Client], None], int] = {
            self.connect: 6,
            self.join: 24,
            self.leave: 10,
            self.renew: 10,
            self.broadcast: 10,
            self.tell_presence: 8,
            self.vanish: 5,
            self.commit: 8,
            self.send_from_database: 3,
            self.drain: 4,
            self.pass_time: 2,
            self.break_stream: 1,
            self.lose: 1,
            self.ping: 1,
        }

    async def run(self, steps: int) -> None:
        self.connect()
        for _ in range(steps):
            (act,) = self.random.choices(list(self._actions), self._actions.values())
            act(self.random.choice(list(self.clients)))
            for _ in range(self.random.choice([0, 0, 1, 3])):
                await asyncio.sleep(0)
            self.check()

    def check(self) -> None:
        """In between, too, nobody is where it does not belong."""
        for client in self.node.clients:
            channels = set(client.session.channels)
            assert set(client._seats) == {one for one in channels if one.state is State.JOINED}
            assert set(client._members) <= set(client._seats)
            assert set(client._deciding) <= channels
            assert client.session._held == sum(len(one.held) for one in channels)

    def token(self) -> str:
        claims = {"role": self.random.choice(["ada", "bob", "nobody"])}
        expires_at = self.now_s + self.random.choice([600, 700, 2, -5])
        return jwt.encode({"alg": "HS256"}, {**claims, "exp": expires_at}, OctKey.import_key(SECRET))

    def push(self, client: Client, event: str, payload: object) -> None:
        join_ref = self.random.choice(["1", "1", "2", None])
        client.receive_text(json.dumps([join_ref, "9", f"realtime:{self.random.choice('ab')}", event, payload]))

    def connect(self, client: Client | None = None) -> None:
        del client
        outlet = MemoryOutlet(high_bytes=self.random.choice([None, None, 1500]))
        identity = self.random.choice([None, Identity("me"), Identity("ada", is_shared=True)])
        claims = Claims("ada", self.now_s + 600, {"role": "ada"})
        self.clients[self.node.connect(serializer_for("2.0.0"), outlet, identity, claims=claims)] = outlet

    def join(self, client: Client) -> None:
        flip = lambda: self.random.random() < 0.5  # noqa: E731 - a word for what follows
        is_private = flip()
        broadcast = {"self": flip(), "ack": flip(), "replication_ready": flip() and flip()}
        if is_private and flip():
            broadcast["replay"] = {"since": 1}
        config: dict[str, Any] = {"private": is_private, "broadcast": broadcast, "presence": {"enabled": flip()}}
        if flip():
            config["postgres_changes"] = [TODOS]
            config["postgres_changes_options"] = {"wait": flip() and flip()}
        token = {"access_token": self.token()} if flip() and flip() else {}
        self.push(client, "phx_join", {"config": config, **token} if self.random.random() < 0.95 else {})

    def leave(self, client: Client) -> None:
        self.push(client, "phx_leave", {})

    def renew(self, client: Client) -> None:
        self.push(client, "access_token", {"access_token": self.token()})

    def broadcast(self, client: Client) -> None:
        self.push(client, "broadcast", {"event": "e", "payload": "x" * self.random.randrange(500)})

    def tell_presence(self, client: Client) -> None:
        told = {"event": self.random.choice(["track", "track", "untrack"]), "payload": {"n": self.random.randrange(3)}}
        self.push(client, "presence", told)

    def vanish(self, client: Client) -> None:
        client.gone(self.random.choice([None, 1009]))
        del self.clients[client]
        if not self.clients:
            self.connect()

    def commit(self, client: Client) -> None:
        del client
        self.commit_lsn += 100
        self.source.send(*pgoutput.transaction(self.commit_lsn, 1, 2))

    def send_from_database(self, client: Client) -> None:
        del client
        message = {"topic": "a", "event": "e", "payload": 1, "private": self.random.random() < 0.5}
        xid = self.random.choice([None, 7])
        self.node.pipeline.relays.on_message[MESSAGE_PREFIX](json.dumps(message).encode(), xid)

    def drain(self, client: Client) -> None:
        if self.clients[client].closed is not None:
            self.vanish(client)
        elif self.clients[client].is_paused:
            self.clients[client].drain()
            client.resumed()

    def pass_time(self, client: Client) -> None:
        del client
        self.now_s += 1
        for expiring in self.node._expiries.take_expired(self.now_s):
            expiring.standing.expire(expiring.channel)

    def break_stream(self, client: Client) -> None:
        del client
        self.source.break_off(StreamEnded("away"))

    def lose(self, client: Client) -> None:
        del client
        self.node.pipeline.tell_lost()

    def ping(self, client: Client) -> None:
        client.ping_if_due()


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_happens_meanwhile_nothing_fails_and_nothing_is_left_behind(
    seed: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("pgcast.engine.clients._RETRY_S", 0.001)
    life = Life(seed)
    node = life.node
    await node.start()
    await life.run(400)
    for client in list(life.clients):
        client.gone()
    await asyncio.sleep(0.02)
    assert not node.clients
    assert not {task.get_name() for task in asyncio.all_tasks()} & {"join", "rights", "replication ready"}
    assert (len(node.rooms), node.rooms.member_count, node.rooms.pending_bytes, len(node._expiries)) == (0, 0, 0, 0)
    assert (node.hub.member_count, node.hub.group_count, node.hub.ring_bytes, len(node.hub.readers)) == (0, 0, 0, 0)
    assert not node.hub.is_holding
    assert not node.broadcasts._collections
    assert all(mark.gone_at_s is not None for mark in node.memory.acknowledged._marks)
    await node.stop()
    assert "Traceback" not in capsys.readouterr().out
