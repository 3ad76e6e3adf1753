"""Tokens and private channels through the official clients: what an application learns, and when it has to act."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack
from typing import Any

import pytest

from fix_clients import (
    EACH_OF_TODAY,
    REALTIME_JS_1_7,
    REALTIME_PY,
    REALTIME_PY_2_4,
    SUPABASE_JS,
    Application,
    Client,
    application,
)
from fix_node import Node, NodeFactory
from fix_policies import MESSAGES, ROLES
from minting import SECRET, mint
from pgcast.devdb.cluster import Cluster
from pgcast.devdb.template import Database

pytestmark = pytest.mark.postgres(13, why="the tests make their rows' ids with gen_random_uuid")

TODAY = (SUPABASE_JS, *EACH_OF_TODAY)
ADA, BOB = (f"00000000-0000-0000-0000-00000000000{number}" for number in range(2))

# What the Python client logs of messages with the status `error`, and of channels that end.
PY_SAYS = ("error", "Error", "closed", "Rejoin", "rejoin", "timeout", "expired", "permission")


@pytest.fixture(scope="module")
def guarded(cluster: Cluster, shared_database: Database, start_shared_node: NodeFactory) -> Node:
    with cluster.connect() as connection:
        connection.execute(ROLES)
    shared_database.execute(MESSAGES)
    shared_database.execute("""
        create policy readers on realtime.messages for select to authenticated
            using (realtime.topic() in ('news', 'user:' || (select auth.uid())::text));
        create policy writers on realtime.messages for insert to authenticated
            with check (realtime.topic() = 'user:' || (select auth.uid())::text);
        create table wages (id int8 primary key, amount int);
        grant usage on schema public to authenticated, service_role;
        grant select (id) on wages to authenticated;
        grant select on wages to service_role
    """)
    return start_shared_node(
        shared_database.dsn,
        JWT_SECRET=SECRET,
        PGCAST_PUBLISHABLE_KEYS="sb_publishable_0123456789",
        PGCAST_BIND="127.0.0.1",
    )


def channel(topic: str, **config: Any) -> dict[str, Any]:
    return {"topic": topic, "broadcasts": ["hi"], "config": {"private": True, **config}}


def app(client: Client, node: Node, *channels: dict[str, Any], **config: Any) -> Application:
    said = PY_SAYS if client.is_python else ()
    return application(client, node, *channels, may_log=said, **{"apikey": mint(sub=ADA), **config})


@pytest.mark.behaviour("private", "private refused", "may not send")
@pytest.mark.parametrize("client", TODAY, ids=str)
async def test_a_private_channel_is_allowed_or_refused(client: Client, guarded: Node):
    async with app(client, guarded, channel(f"user:{ADA}", broadcast={"ack": True, "self": True})) as allowed:
        await allowed.gets_status("SUBSCRIBED", f"user:{ADA}")
        assert await allowed.act(f"user:{ADA}", send=["hi", {"n": 1}]) == "ok"
        assert (await allowed.get("broadcast"))["broadcast"]["payload"] == {"n": 1}
        await allowed._tell(join=channel("news", broadcast={"ack": True}))
        await allowed.gets_status("SUBSCRIBED", "news")
        # The Python clients tell the application nothing of an answer.
        assert await allowed.act("news", send=["hi", {}]) == ("ok" if client.is_python else "error")
    async with app(client, guarded, channel(f"user:{BOB}")) as refused:
        line = await refused.get("status")
        assert line["status"] == "CHANNEL_ERROR"
        assert "permissions to read" in line.get("error", "permissions to read")


@pytest.mark.behaviour("opaque key")
@pytest.mark.parametrize("client", TODAY, ids=str)
async def test_an_opaque_key_connects_and_a_token_joins(client: Client, guarded: Node):
    topic = f"user:{ADA}"
    async with app(client, guarded, channel(topic), apikey="sb_publishable_0123456789", token=mint(sub=ADA)) as one:
        await one.gets_status("SUBSCRIBED", topic)


@pytest.mark.behaviour("renewed token", "expired token", clients=TODAY)
async def test_a_token_that_is_renewed_in_time_keeps_the_channel_and_one_that_expires_closes_it(guarded: Node):
    topic = f"user:{ADA}"
    async with AsyncExitStack() as stack:
        # Side by side, for all of them wait.
        apps = [await stack.enter_async_context(app(client, guarded, channel(topic))) for client in TODAY]
        for one in apps:
            await one.gets_status("SUBSCRIBED", topic)
            await one.set_auth(mint(sub=ADA, lives_s=2))
            await one.set_auth(mint(sub=ADA, n=1))
        await asyncio.sleep(3)
        for one in apps:
            assert one.unread("system") == one.unread("status") == [], str(one)
        for sender, receiver in itertools.pairwise([*apps, apps[0]]):
            assert await sender.act(topic, send=["hi", {}]) == "ok", str(sender)
            await receiver.get("broadcast")
        for one in apps:
            await one.set_auth(mint(sub=ADA, lives_s=2))
        for one in apps:
            # The newer Python client hands an error to the status alone.
            is_error = one.client == REALTIME_PY
            said = (await one.get("status"))["error"] if is_error else (await one.get("system"))["system"]["message"]
            assert "Token has expired " in said
            if one.client != REALTIME_PY_2_4:  # which has no status for the end of a channel
                await one.gets_status("CLOSED", topic)


# Python's 2.4.3 does not join again by itself once a join was refused.
JOINS_AGAIN = (*(client for client in TODAY if client != REALTIME_PY_2_4), REALTIME_JS_1_7)


@pytest.mark.behaviour("next token")
@pytest.mark.parametrize("client", JOINS_AGAIN, ids=str)
async def test_who_comes_with_an_expired_token_gets_in_with_the_next_one(client: Client, guarded: Node):
    topic = "realtime:public:wages" if client.is_legacy else f"user:{ADA}"
    config = {"topic": topic} if client.is_legacy else channel(topic)
    async with app(client, guarded, config, token=mint(sub=ADA, lives_s=-5)) as one:
        await one.gets_status("CHANNEL_ERROR", topic)
        await one.set_auth(mint(sub=ADA))
        assert set(await one.gets_back(topic)) <= {"CHANNEL_ERROR"}


@pytest.mark.behaviour("rights")
@pytest.mark.parametrize("client", TODAY, ids=str)
async def test_changes_go_on_with_the_rights_of_a_new_token(client: Client, guarded: Node, shared_database: Database):
    shared_database.execute("delete from wages")
    bindings = [{"event": "INSERT", "schema": "public", "table": "wages"}]
    async with app(client, guarded, {"topic": "wages", "bindings": bindings}) as one:
        await one.gets_status("SUBSCRIBED", "wages")
        await one.get("system")
        shared_database.execute("insert into wages values (1, 10)")
        (first,) = await one.gets_changes(1)
        await one.set_auth(mint("service_role"))
        assert (await one.get("system"))["system"]["message"] == "Subscribed to PostgreSQL"
        shared_database.execute("insert into wages values (2, 20)")
        (second,) = await one.gets_changes(1)
    new = [
        change["change"]["data"]["record"] if client.is_python else change["change"]["new"]
        for change in (first, second)
    ]
    assert new == [{"id": 1}, {"id": 2, "amount": 20}]


@pytest.mark.behaviour("opaque key", "renewed token", "expired token", "rights", clients=[REALTIME_JS_1_7])
async def test_the_oldest_client_s_token_is_renewed_and_expires(guarded: Node, shared_database: Database):
    shared_database.execute("delete from wages")
    topic = "realtime:public:wages"
    config = {"apikey": "sb_publishable_0123456789", "token": mint(sub=ADA)}
    async with app(REALTIME_JS_1_7, guarded, {"topic": topic}, **config) as one:
        await one.gets_status("SUBSCRIBED", topic)
        shared_database.execute("insert into wages values (1, 10)")
        first = (await one.gets_changes(2))[0]["change"]["record"]
        await one.set_auth(mint(sub=ADA, lives_s=2))
        await one.set_auth(mint("service_role"))
        with pytest.raises(AssertionError, match="no status within"):
            await one.get("status", deadline_s=3)
        shared_database.execute("insert into wages values (2, 20)")
        second = (await one.gets_changes(2))[0]["change"]["record"]
        assert (first, second) == ({"id": 1}, {"id": 2, "amount": 20})
        await one.set_auth(mint(sub=ADA, lives_s=2))
        while "Token has expired " not in (await one.get("system"))["system"]["message"]:
            pass
        await one.gets_status("CLOSED", topic)
