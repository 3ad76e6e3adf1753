"""Channels and their rights on a node in memory: joins, new tokens, expiry, whatever policies and database do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pgoutput
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey
from memory_outlet import MemoryOutlet
from memory_policies import EVERYTHING, MemoryPolicies
from memory_source import MemoryCatalog, MemorySource, database

from fix_clock import Clock
from pgcast.auth.keys import shared_secret
from pgcast.auth.tokens import Tokens
from pgcast.changes.payload import Payloads
from pgcast.engine.authentication import Authenticator
from pgcast.engine.authorization import Authorization
from pgcast.engine.backoff import Backoff
from pgcast.engine.clients import Client
from pgcast.engine.hub import HubLimits
from pgcast.engine.node import Node, NodeLimits
from pgcast.engine.ports import Permission
from pgcast.frames.codec import serializer_for
from pgcast.model.claims import Claims
from pgcast.model.errors import ConnectionFailed, KeySetUnavailable, PoliciesUnavailable
from pgcast.model.sight import Sight
from pgcast.model.snapshot import Snapshot

SECRET = "a secret of more than thirty-two characters"
NOW = 1_800_000_000.0
STRANGER = ECKey.generate_key("P-256", {"kid": "new"})
TODOS = {"event": "*", "schema": "public", "table": "todos"}
BROADCAST = {"type": "broadcast", "event": "e", "payload": {}}
AWAY = PoliciesUnavailable("away", reason="UnableToConnectToProject: away")
READS = Permission(broadcast=True, presence=False)


def token(role: str = "ada", *, lives_s: float = 600, **claims: object) -> str:
    return jwt.encode({"alg": "HS256"}, {"role": role, "exp": NOW + lives_s, **claims}, OctKey.import_key(SECRET))


def stranger() -> str:
    return jwt.encode({"alg": "ES256", "kid": "new"}, {"role": "ada", "exp": NOW + 600}, STRANGER)


class KeySets:
    def __init__(self) -> None:
        self.content: bytes | None = None

    async def fetch(self) -> bytes:
        if self.content is None:
            raise KeySetUnavailable("away")
        return self.content

    async def close(self) -> None:
        pass


@dataclass
class Rig:
    clock: Clock
    source: MemorySource
    catalog: MemoryCatalog
    policies: MemoryPolicies
    keys: KeySets
    node: Node
    client: Client
    outlet: MemoryOutlet

    def push(self, event: str, payload: object, *, topic: str = "realtime:t", ref: str = "1") -> None:
        self.client.receive_text(json.dumps(["1", ref, topic, event, payload]))

    async def join(self, *bindings: Any, token: str | None = None, **config: Any) -> Any:
        quiet = {"presence": {"enabled": False}, "postgres_changes": list(bindings), **config}
        self.push("phx_join", {"config": quiet, **({"access_token": token} if token else {})})
        await self.clock.settle()
        return self.outlet.messages[-1][4] if self.outlet.messages else None

    async def renew(self, token: str) -> None:
        self.push("access_token", {"access_token": token})
        await self.clock.settle()

    async def commit(self, commit_lsn: int, *row_ids: int) -> None:
        self.source.send(*pgoutput.transaction(commit_lsn, *row_ids))
        await self.clock.settle()

    def news(self) -> list[Any]:
        """The messages since the last time, as (event, what it says)."""
        messages = self.outlet.messages
        self.outlet.writes.clear()
        return [
            (message[3], message[4].get("message") or message[4].get("status") or message[4].get("data") or message[4])
            for message in messages
        ]


@pytest.fixture
async def rig(clock: Clock) -> AsyncIterator[Rig]:
    source, catalog, policies, keys = MemorySource(), MemoryCatalog(), MemoryPolicies(), KeySets()
    started_s = clock.now_s
    authenticator = Authenticator(Tokens(shared_secret(SECRET)), keys, lambda: NOW + clock.now_s - started_s)
    catalog.roles = {"ada": {pgoutput.TODOS_OID: Sight()}, "bob": {pgoutput.TODOS_OID: Sight(frozenset({"id"}))}}
    node = Node(
        database(source, catalog),
        Payloads(),
        NodeLimits(hub=HubLimits(flush_gap_s=0)),
        Backoff(1, 1),
        Authorization(authenticator, policies),
    )
    await node.start()
    outlet = MemoryOutlet()
    claims = Claims("ada", NOW + 600, {"role": "ada"})
    client = node.connect(serializer_for("2.0.0"), outlet, claims=claims)
    yield Rig(clock, source, catalog, policies, keys, node, client, outlet)
    client.gone()
    await node.stop()


ENDED = "phx_close"


async def test_a_public_channel_asks_no_policy(rig: Rig):
    assert (await rig.join())["status"] == "ok"
    assert (await rig.join(TODOS))["message"] == "Subscribed to PostgreSQL"
    assert rig.policies.asked == []


async def test_a_private_channel_is_joined_by_whom_the_policies_let_read_either(rig: Rig):
    assert (await rig.join(private=True))["response"] == {
        "reason": "Unauthorized: You do not have permissions to read from this Channel topic: t"
    }
    for permission in (READS, Permission(broadcast=False, presence=True)):
        rig.policies.reading["ada"] = permission
        assert (await rig.join(private=True))["status"] == "ok"


async def test_policies_that_cannot_be_asked_refuse_a_join_such_that_clients_try_again(rig: Rig):
    rig.policies.failure = AWAY
    assert (await rig.join(private=True))["response"] == {"reason": "UnableToConnectToProject: away"}


async def test_a_key_that_is_not_known_is_waited_for_in_a_join(rig: Rig):
    assert (await rig.join(token=stranger()))["response"] == {
        "reason": "KeySetUnavailable: The keys that verify tokens cannot be fetched at present"
    }
    rig.keys.content = json.dumps({"keys": [STRANGER.as_dict(private=False)]}).encode()
    await rig.clock.advance(6)
    assert (await rig.join(token=stranger()))["status"] == "ok"


async def test_a_right_to_write_is_asked_at_its_first_use_and_then_known(rig: Rig):
    rig.policies.reading["ada"] = rig.policies.writing["ada"] = EVERYTHING
    await rig.join(private=True, broadcast={"ack": True})
    for _ in range(3):
        rig.push("broadcast", BROADCAST)
        await rig.clock.settle()
    assert [how for how, _ in rig.policies.asked] == ["read", "write"]
    assert rig.outlet.messages[-1][4]["status"] == "ok"


async def test_a_right_that_cannot_be_asked_breaks_the_channel_such_that_it_is_joined_again(rig: Rig):
    rig.policies.reading["ada"] = EVERYTHING
    await rig.join(private=True, broadcast={"ack": True})
    rig.policies.failure = AWAY
    rig.push("broadcast", BROADCAST)
    await rig.clock.settle()
    assert rig.outlet.messages[-2][3] == "phx_error" or rig.outlet.messages[-1][3] == "phx_error"


async def test_the_same_token_costs_nothing_and_a_new_one_is_authorized_again(rig: Rig):
    rig.policies.reading["ada"] = rig.policies.reading["bob"] = READS
    own = token()
    await rig.join(private=True, token=own)
    for _ in range(10):
        await rig.renew(own)
    assert len(rig.policies.asked) == 1
    await rig.renew(token("bob"))
    assert [asker.role for _, asker in rig.policies.asked] == ["ada", "bob"]


async def test_of_two_new_tokens_the_last_one_counts(rig: Rig):
    rig.policies.reading = dict.fromkeys(("ada", "bob", "eve"), READS)
    await rig.join(TODOS, private=True)
    rig.policies.may_answer.clear()
    await rig.renew(token("eve"))
    await rig.renew(token("bob"))
    rig.policies.may_answer.set()
    await rig.clock.settle()
    assert [channel.claims and channel.claims.role for channel in rig.client.session.channels] == ["bob"]


async def test_a_new_token_without_rights_ends_the_channel(rig: Rig):
    rig.policies.reading = {"ada": EVERYTHING, "bob": READS}
    await rig.join(private=True)
    rig.news()
    await rig.renew(token("bob"))
    assert rig.news() == [
        ("system", "You no longer have permission to read from this Channel topic: t"),
        (ENDED, {}),
    ]
    await rig.join(private=True)
    rig.news()
    await rig.renew(token("eve"))
    assert rig.news() == [("system", "You do not have permissions to read from this Channel topic: t"), (ENDED, {})]


async def test_a_token_that_is_given_up_again_at_once_does_not_count(rig: Rig):
    own = token()
    rig.policies.reading = dict.fromkeys(("ada", "bob"), READS)
    await rig.join(private=True, token=own)
    rig.policies.may_answer.clear()
    await rig.renew(token("bob"))
    await rig.renew(own)
    rig.policies.may_answer.set()
    await rig.clock.settle()
    assert [channel.claims and channel.claims.role for channel in rig.client.session.channels] == ["ada"]


async def test_on_a_public_channel_nothing_waits_for_a_new_token(rig: Rig):
    await rig.join(broadcast={"ack": True})
    rig.news()
    rig.push("access_token", {"access_token": token("bob")})
    for _ in range(400):
        rig.push("broadcast", BROADCAST)
    assert rig.news() == [("phx_reply", "ok")] * 400


async def test_what_follows_a_token_has_its_rights_and_not_those_of_the_one_before(rig: Rig):
    rig.policies.reading = dict.fromkeys(("ada", "bob"), READS)
    rig.policies.writing = {"bob": EVERYTHING}
    await rig.join(private=True, broadcast={"ack": True})
    rig.push("broadcast", BROADCAST)
    await rig.clock.settle()
    rig.news()
    for name in ("bob", "ada"):
        rig.push("access_token", {"access_token": token(name)})
        rig.push("broadcast", BROADCAST)
    await rig.clock.settle()
    assert rig.news() == [("phx_reply", "ok"), ("phx_reply", "error")]


async def test_a_right_that_was_being_asked_is_the_new_token_s(rig: Rig):
    rig.policies.reading = dict.fromkeys(("ada", "bob"), READS)
    rig.policies.writing = {"bob": EVERYTHING}
    await rig.join(private=True, broadcast={"ack": True})
    rig.policies.may_answer.clear()
    await rig.renew(token("bob"))
    rig.push("broadcast", BROADCAST)
    await rig.clock.settle()
    rig.news()
    rig.policies.may_answer.set()
    await rig.clock.settle()
    assert rig.news() == [("phx_reply", "ok")]


async def test_a_bad_token_among_what_was_held_for_a_join_leaves_nothing_behind_it_unanswered(rig: Rig):
    rig.push("phx_join", {"config": {"postgres_changes": [TODOS], "broadcast": {"ack": True}}})
    rig.push("access_token", {"access_token": token(lives_s=-5)})
    rig.push("broadcast", BROADCAST, ref="2")
    await rig.clock.settle()
    answered = [message[1] for message in rig.outlet.messages if message[3] == "phx_reply"]
    assert answered == ["1", "2"]
    assert ENDED in [event for event, _ in rig.news()]


async def test_policies_that_cannot_be_asked_for_a_new_token_break_the_channel(rig: Rig):
    rig.policies.reading["ada"] = READS
    await rig.join(private=True)
    rig.news()
    rig.policies.failure = AWAY
    await rig.renew(token(n=1))
    assert rig.news() == [("phx_error", {})]


async def test_a_new_token_of_a_key_that_is_not_known(rig: Rig):
    await rig.join()
    rig.news()
    await rig.renew(stranger())
    assert rig.news() == [("phx_error", {})]
    await rig.join()
    rig.keys.content = json.dumps({"keys": [ECKey.generate_key("P-256", {"kid": "k"}).as_dict(private=False)]}).encode()
    await rig.clock.advance(6)
    rig.news()
    await rig.renew(stranger())
    assert rig.news() == [
        (
            "system",
            'Failed to generate JWT signer for key ID (kid) "new", check your JWT secret or JWKS configuration',
        ),
        (ENDED, {}),
    ]
    await rig.join(TODOS)
    rig.keys.content = json.dumps({"keys": [STRANGER.as_dict(private=False)]}).encode()
    await rig.clock.advance(6)
    rig.news()
    await rig.renew(stranger())
    assert rig.news() == [("system", "Subscribed to PostgreSQL")]


async def test_a_token_expires_within_two_seconds_of_its_time_and_a_new_one_keeps_the_channel(rig: Rig):
    await rig.join(token=token(lives_s=10))
    rig.news()
    await rig.clock.advance(9)
    await rig.renew(token(lives_s=20))
    await rig.clock.advance(9)
    assert rig.news() == []
    await rig.clock.advance(3)
    ((_, text), closed) = rig.news()
    assert text in {f"Token has expired {seconds} seconds ago" for seconds in (0, 1)}
    assert closed == (ENDED, {})


async def test_a_channel_that_left_does_not_expire(rig: Rig):
    await rig.join(token=token(lives_s=5))
    rig.push("phx_leave", {})
    rig.news()
    await rig.clock.advance(10)
    assert rig.news() == []


async def test_a_channel_of_the_connection_s_token_expires_with_it_and_cannot_be_joined_again(rig: Rig):
    await rig.join()
    rig.news()
    await rig.clock.advance(602, step_s=0.5)
    assert [event for event, _ in rig.news()] == ["system", ENDED]
    assert (await rig.join())["response"]["reason"].startswith("InvalidJWTToken: Token has expired ")


async def test_bindings_go_on_with_the_rights_of_a_new_token(rig: Rig):
    await rig.join(TODOS)
    await rig.commit(100, 1)
    rig.news()
    await rig.renew(token("bob"))
    await rig.commit(200, 2)
    told, changed = rig.news()
    assert told == ("system", "Subscribed to PostgreSQL")
    assert changed[1]["record"] == {"id": 2}
    assert rig.node.hub.member_count == 1


async def test_a_new_token_counts_that_comes_while_bindings_are_checked_that_were_late(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
):
    rig.catalog.failure = ConnectionFailed("away")
    await rig.join(TODOS)
    rig.catalog.failure = None
    is_over = asyncio.Event()
    ask = rig.catalog.snapshot

    async def ask_slowly() -> Snapshot:
        await is_over.wait()
        return await ask()

    monkeypatch.setattr(rig.catalog, "snapshot", ask_slowly)
    await rig.clock.advance(2.1)
    await rig.renew(token("bob"))
    is_over.set()
    await rig.clock.advance(2.1)
    rig.news()
    await rig.commit(100, 1)
    ((_, change),) = rig.news()
    assert change["record"] == {"id": 1}


async def test_bindings_of_a_role_that_does_not_exist_are_given_up(rig: Rig):
    await rig.join(TODOS)
    rig.news()
    await rig.renew(token("nobody"))
    ((event, text),) = rig.news()
    assert event == "system"
    assert text.endswith('role "nobody" does not exist')
    assert rig.node.hub.member_count == 0


async def test_bindings_that_cannot_be_checked_for_a_new_token_break_the_channel(rig: Rig):
    await rig.join(TODOS)
    rig.news()
    rig.catalog.failure = ConnectionFailed("away")
    await rig.renew(token("bob"))
    assert rig.news() == [("phx_error", {})]


async def test_too_many_joins_are_refused_and_the_connection_is_sent_away(rig: Rig):
    rig.node.joins.limit_per_s = 2 / 60
    for number in range(3):
        rig.push("phx_join", {"config": {"presence": {"enabled": False}}}, topic=f"realtime:{number}")
    assert rig.outlet.messages[-1][4]["response"] == {"reason": "ClientJoinRateLimitReached: Too many joins per second"}
    assert rig.outlet.closed == (1013, "Too many joins per second")
    assert rig.node.has_too_many_joins
    assert rig.node.limited["joins"] == 1
    await rig.clock.advance(66, step_s=0.5)
    assert not rig.node.has_too_many_joins


async def test_a_connection_that_is_gone_leaves_nothing_behind(rig: Rig):
    rig.policies.reading["ada"] = READS
    rig.policies.may_answer.clear()
    await rig.join(private=True)
    rig.client.gone()
    rig.policies.may_answer.set()
    await rig.clock.settle()
    assert len(rig.node._expiries) == 0
    assert rig.node.rooms.member_count == 0
    await rig.clock.settle()
    assert len(rig.node._expiries) == 0
    assert rig.node.rooms.member_count == 0


async def test_a_token_of_another_role_that_follows_a_join_at_once_counts_for_its_bindings(rig: Rig):
    rig.push("phx_join", {"config": {"postgres_changes": [TODOS], "presence": {"enabled": False}}})
    rig.push("access_token", {"access_token": token("bob")})
    await rig.clock.settle()
    await rig.clock.settle()
    rig.news()
    await rig.commit(100, 1)
    ((_, change),) = rig.news()
    assert change["record"] == {"id": 1}
