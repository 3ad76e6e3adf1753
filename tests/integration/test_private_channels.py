"""Private channels: who may join, send and track is what the policies on realtime.messages say; over real sockets."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from fix_node import Node, NodeFactory
from fix_policies import MESSAGES, ROLES
from minting import SECRET, mint
from pgcast.devdb.cluster import Cluster
from pgcast.devdb.template import Database
from pgcast.engine.ports import Asker, Permission
from pgcast.postgres.connection import parse_target
from pgcast.postgres.policies import PostgresPolicies
from pgcast.postgres.preparation import prepare
from pgcast.postgres.setup import Wishes
from realtime_client import RealtimeClient

pytestmark = pytest.mark.postgres(13, why="the tests make their rows' ids with gen_random_uuid")

POLICIES = Path(__file__).parents[2] / "examples/sql/policies.sql"
ADA = "6f1c0b2e-54a1-4a51-9c39-0e6f0c8f9a11"
BOB = "00000000-54a1-4a51-9c39-0e6f0c8f9a11"
PRIVATE: dict[str, Any] = {"private": True, "broadcast": {"ack": True}}
HELLO = {"type": "broadcast", "event": "hello", "payload": {"n": 1}}


@pytest.fixture(scope="module")
def guarded(cluster: Cluster, shared_database: Database, start_shared_node: NodeFactory) -> Node:
    """Everybody may read `open:*`, a user its own `user:<id>`; who has a plan may write; nobody tracks in `quiet:*`."""
    with cluster.connect() as connection:
        connection.execute(ROLES)
    shared_database.execute(MESSAGES)
    shared_database.execute("""
        create policy readers on realtime.messages for select to authenticated using (
            realtime.topic() like 'open:%' or realtime.topic() = 'user:' || (select auth.uid())::text
            or (realtime.topic() like 'presence:%' and extension = 'presence')
            or (realtime.topic() like 'app:%' and current_setting('request.headers')::json ->> 'x-app' = 'shop'));
        create policy writers on realtime.messages for insert to authenticated with check (
            (select auth.jwt() ->> 'plan') = 'pro' and not (topic like 'quiet:%' and extension = 'presence'))
    """)
    return start_shared_node(shared_database.dsn, JWT_SECRET=SECRET, PGCAST_BIND="127.0.0.1")


async def join(client: RealtimeClient, topic: str, token: str | None = None, **config: Any) -> dict[str, Any]:
    payload = {"config": {**PRIVATE, **config}, **({"access_token": token} if token else {})}
    ref = await client.push(f"realtime:{topic}", "phx_join", payload)
    reply = await client.receive_until(lambda message: message["ref"] == ref)
    answer: dict[str, Any] = reply["payload"]
    return answer


async def send(client: RealtimeClient, topic: str, event: str = "broadcast", payload: Any = HELLO) -> dict[str, Any]:
    ref = await client.push(f"realtime:{topic}", event, payload)
    reply = await client.receive_until(lambda message: message["ref"] == ref)
    answer: dict[str, Any] = reply["payload"]
    return answer


def refused(topic: str) -> dict[str, Any]:
    reason = f"Unauthorized: You do not have permissions to read from this Channel topic: {topic}"
    return {"status": "error", "response": {"reason": reason}}


async def test_a_policy_lets_in_and_keeps_out(guarded: Node):
    async with RealtimeClient(guarded.url, apikey=mint(sub=ADA)) as client:
        assert (await join(client, f"user:{ADA}"))["status"] == "ok"
        assert await join(client, f"user:{BOB}") == refused(f"user:{BOB}")
        assert await join(client, f"user:{BOB}", mint(sub="no uuid")) == refused(f"user:{BOB}")
        assert await join(client, "open:1", mint("anon")) == refused("open:1")
        assert await join(client, "open:1", mint("no_such_role")) == refused("open:1")
        assert (await join(client, "anything", mint("service_role")))["status"] == "ok"


async def test_the_headers_of_the_handshake_reach_the_policies(guarded: Node):
    async with RealtimeClient(guarded.url, apikey=mint()) as client:
        assert await join(client, "app:1") == refused("app:1")


async def test_who_may_write_is_asked_at_the_first_message(guarded: Node):
    async with (
        RealtimeClient(guarded.url, apikey=mint(plan="pro", sub=ADA)) as writer,
        RealtimeClient(guarded.url, apikey=mint(plan="free", sub=BOB)) as reader,
        RealtimeClient(guarded.url, apikey=mint("service_role")) as service,
    ):
        for client in (writer, reader, service):
            await join(client, "open:write")
        assert await send(reader, "open:write") == {"status": "error", "response": {"reason": "unauthorized"}}
        assert (await send(writer, "open:write"))["status"] == "ok"
        assert (await send(service, "open:write"))["status"] == "ok"
        got = [await reader.receive_until(lambda message: message["event"] == "broadcast") for _ in range(2)]
        assert [message["payload"] for message in got] == [HELLO, HELLO]


async def test_presence_has_rights_of_its_own(guarded: Node):
    track = {"type": "presence", "event": "track", "payload": {"name": "ada"}}
    async with (
        RealtimeClient(guarded.url, apikey=mint(plan="pro", sub=ADA)) as client,
        RealtimeClient(guarded.url, apikey=mint("service_role")) as service,
    ):
        await join(client, "presence:1", presence={"key": "ada", "enabled": True})
        await join(service, "presence:1")
        assert (await send(client, "presence:1", "presence", track))["status"] == "ok"
        diff = await client.receive_until(lambda message: message["event"] == "presence_diff")
        assert list(diff["payload"]["joins"]) == ["ada"]
        # It joined for presence alone, so it gets no broadcast.
        assert (await send(service, "presence:1"))["status"] == "ok"
        await client.push("phoenix", "heartbeat", join_ref=None)
        assert (await client.receive())["topic"] == "phoenix"
        await join(client, "open:quiet", mint(plan="free"))
        assert (await send(client, "open:quiet", "presence", track))["status"] == "error"


async def test_public_and_private_channels_of_one_name_are_two_rooms(guarded: Node):
    async with (
        RealtimeClient(guarded.url, apikey=mint(plan="pro")) as inside,
        RealtimeClient(guarded.url, apikey=mint("anon")) as outside,
    ):
        await join(inside, "open:rooms")
        await outside.join("realtime:open:rooms")
        assert (await send(inside, "open:rooms"))["status"] == "ok"
        await outside.push("phoenix", "heartbeat", join_ref=None)
        while (message := await outside.receive())["topic"] != "phoenix":
            assert message["event"] != "broadcast"


async def test_a_new_token_is_authorized_again(guarded: Node):
    async with RealtimeClient(guarded.url, apikey=mint(sub=ADA)) as client:
        await join(client, f"user:{ADA}")
        assert (await send(client, f"user:{ADA}"))["status"] == "error"
        # What follows a token on its topic is done with its rights, also in the same breath.
        for plan, status in (("pro", "ok"), ("free", "error"), ("pro", "ok")):
            await client.push(f"realtime:user:{ADA}", "access_token", {"access_token": mint(sub=ADA, plan=plan)})
            assert (await send(client, f"user:{ADA}"))["status"] == status
        await client.push(f"realtime:user:{ADA}", "access_token", {"access_token": mint(sub=BOB)})
        told = await client.receive_until(lambda message: message["event"] == "system")
        assert told["payload"] == {
            "extension": "system",
            "status": "error",
            "message": f"You do not have permissions to read from this Channel topic: user:{ADA}",
            "channel": f"user:{ADA}",
        }
        assert (await client.receive())["event"] == "phx_close"


async def test_a_new_token_that_reads_less_ends_the_channel(guarded: Node, shared_database: Database):
    shared_database.execute("""
        create policy presence_alone on realtime.messages for select to anon
        using (realtime.topic() = 'open:less' and extension = 'presence')
    """)
    async with RealtimeClient(guarded.url, apikey=mint()) as client:
        await join(client, "open:less")
        await client.push("realtime:open:less", "access_token", {"access_token": mint("anon")})
        told = await client.receive_until(lambda message: message["event"] == "system")
        assert told["payload"]["message"] == "You no longer have permission to read from this Channel topic: open:less"
        assert (await client.receive())["event"] == "phx_close"


async def test_a_new_token_that_reads_more_brings_who_is_there(guarded: Node, shared_database: Database):
    shared_database.execute("""
        create policy broadcast_alone on realtime.messages for select to anon
        using (realtime.topic() = 'open:more' and extension = 'broadcast')
    """)
    async with (
        RealtimeClient(guarded.url, apikey=mint("anon")) as client,
        RealtimeClient(guarded.url, apikey=mint("service_role")) as service,
    ):
        await join(service, "open:more", presence={"key": "ada"})
        await send(service, "open:more", "presence", {"type": "presence", "event": "track", "payload": {"n": 1}})
        await service.receive_until(lambda message: message["event"] == "presence_diff")
        await join(client, "open:more")
        await client.push("realtime:open:more", "access_token", {"access_token": mint()})
        state = await client.receive_until(lambda message: message["event"].startswith("presence"))
        assert (state["event"], list(state["payload"])) == ("presence_state", ["ada"])
        await send(service, "open:more", "presence", {"type": "presence", "event": "untrack"})
        diff = await client.receive_until(lambda message: message["event"].startswith("presence"))
        assert (diff["event"], list(diff["payload"]["leaves"])) == ("presence_diff", ["ada"])


async def test_a_thousand_joins_at_once_are_answered_within_seconds(guarded: Node):
    async with RealtimeClient(guarded.url, apikey=mint(plan="pro")) as client:
        for number in range(999):
            await client.push(
                f"realtime:open:{number}",
                "phx_join",
                {"config": {"private": True, "presence": {"enabled": False}}},
                join_ref=str(number),
            )
        async with asyncio.timeout(8):
            replies = [await client.receive() for _ in range(999)]
        assert {reply["payload"]["status"] for reply in replies} == {"ok"}


async def test_without_the_table_a_private_join_says_what_is_missing(database: Database, start_node: NodeFactory):
    database.execute("create publication supabase_realtime for all tables")
    node = start_node(database.dsn, JWT_SECRET=SECRET, PGCAST_BIND="127.0.0.1", PGCAST_PRIVATE_ONLY="true")
    async with RealtimeClient(node.url, apikey=mint("anon")) as client:
        assert (await join(client, "room"))["response"]["reason"] == (
            "DatabaseNotPrepared: The table realtime.messages is missing, which private channels need"
        )
        assert (await join(client, "room", private=False))["response"]["reason"] == (
            "PrivateOnly: This project only allows private channels"
        )
    assert "pgcast init" in node.log()


async def test_stored_broadcasts_are_for_those_who_may_read_them(guarded: Node, shared_database: Database):
    shared_database.execute("""
        insert into realtime.messages (topic, extension, event, payload, private)
        values ('open:past', 'broadcast', 'old', '{"n": 1}', true), ('presence:past', 'broadcast', 'old', '{}', true)
    """)
    past = {"ack": True, "replay": {"since": 0}}
    async with RealtimeClient(guarded.url, apikey=mint()) as client:
        assert (await join(client, "open:past", broadcast=past))["status"] == "ok"
        message = await client.receive_until(lambda message: message["event"] == "broadcast")
        assert (message["payload"]["payload"]["n"], message["payload"]["meta"]["replayed"]) == (1, True)
        assert await join(client, "presence:past", broadcast=past) == refused("presence:past")


def asking(topic: str, role: str = "authenticated", **claims: str) -> Asker:
    return Asker(role, json.dumps({"role": role, **claims}), claims.get("sub", ""), "{}", topic)


async def test_the_policies_of_the_documentation_do_what_they_say(database: Database, roles: None):
    wishes = Wishes(publications=("supabase_realtime",), has_realtime=True)
    await prepare(parse_target(database.dsn), wishes, is_dry=False)
    database.execute("create table team_members (team_id text, user_id uuid)")
    database.execute(f"insert into team_members values ('red', '{ADA}')")
    database.execute("grant usage on schema public to authenticated; grant select on team_members to authenticated")
    database.execute(POLICIES.read_text())
    policies = PostgresPolicies(parse_target(database.dsn))
    nothing, everything = (Permission(broadcast=allowed, presence=allowed) for allowed in (False, True))
    try:
        assert await policies.may_read(asking("room:1")) == everything
        assert await policies.may_write(asking("room:1")) == everything
        assert await policies.may_read(asking("room:1", "anon")) == nothing
        assert await policies.may_read(asking(f"user:{ADA}", sub=ADA)) == everything
        assert await policies.may_read(asking(f"user:{ADA}", sub=BOB)) == nothing
        assert await policies.may_write(asking(f"user:{ADA}", sub=ADA)) == nothing
        assert await policies.may_read(asking("team:red", sub=ADA)) == Permission(broadcast=True, presence=False)
        assert await policies.may_read(asking("team:red", sub=BOB)) == nothing
        assert await policies.may_write(asking("announcements", plan="pro")) == everything
        assert await policies.may_write(asking("announcements", plan="free")) == nothing
        assert await policies.may_read(asking("anything", "service_role")) == everything
    finally:
        await policies.close()


async def test_private_broadcasts_over_http_ask_the_same_policies(guarded: Node):
    one = "/api/broadcast/open%3Ahttp/events/hello?private=true"
    async with RealtimeClient(guarded.url, vsn="1.0.0", apikey=mint()) as client:
        await join(client, "open:http")
        async with httpx.AsyncClient(base_url=guarded.http_url) as http:
            may, may_not = ({"authorization": f"Bearer {mint(plan=plan)}"} for plan in ("pro", "free"))
            assert (await http.post(one, json={"n": 1}, headers=may)).status_code == 202
            answer = await http.post(one, json={"n": 2}, headers=may_not)
            assert (answer.status_code, answer.json()) == (403, {"message": "Unauthorized"})
            batch = {
                "messages": [
                    {"topic": topic, "event": "hello", "payload": {"n": 3}, "private": True}
                    for topic in ("open:http", "open:other")
                ]
            }
            assert (await http.post("/api/broadcast", json=batch, headers=may_not)).status_code == 202
            assert (await http.post("/api/broadcast", json=batch, headers=may)).status_code == 202
        got = [await client.receive_until(lambda message: message["event"] == "broadcast") for _ in range(2)]
    assert [message["payload"]["payload"] for message in got] == [{"n": 1}, {"n": 3}]
