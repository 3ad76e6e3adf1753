"""The settings of the original server, where a running server shows that they are in force."""

from __future__ import annotations

import json
import socket
import urllib.request
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from fix_node import Node, NodeFactory
from minting import SECRET, mint
from pgcast.devdb.cluster import Cluster
from pgcast.devdb.template import Database
from pgcast.settings import IGNORED
from realtime_client import RealtimeClient

TODOS = {"event": "*", "schema": "public", "table": "todos"}


def event(node: Node, name: str) -> dict[str, object]:
    (found,) = [line for line in node.log_events() if line["event"] == name]
    return found


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


async def test_variables_without_effect_are_said_in_one_line_and_their_values_are_not(
    published: Database, start_node: NodeFactory
):
    node = start_node(published.dsn, **dict.fromkeys(IGNORED, "geheim"))
    told = event(node, "settings of the original server without effect")
    assert {name: told[name] for name in IGNORED} == IGNORED
    assert "geheim" not in node.log()


async def test_a_secret_is_read_from_its_file(
    cluster: Cluster, published: Database, start_node: NodeFactory, tmp_path: Path
):
    (tmp_path / "jwt").write_text(f"{SECRET}\n")
    (tmp_path / "password").write_text(f"{cluster.password}\n")
    node = start_node(
        "",
        DB_HOST="127.0.0.1",
        DB_PORT=str(cluster.port),
        DB_NAME=published.name,
        DB_PASSWORD_FILE=str(tmp_path / "password"),
        JWT_SECRET_FILE=str(tmp_path / "jwt"),
        PGCAST_BIND="127.0.0.1",
    )
    for key in ("nonsense", mint(secret=f"{SECRET}x")):
        with pytest.raises(InvalidStatus, match="401"):
            await connect(f"{node.url}?apikey={key}")
    async with connect(f"{node.url}?apikey={mint()}"):
        pass


async def test_without_secure_channels_nobody_needs_a_token(published: Database, start_node: NodeFactory):
    node = start_node(published.dsn, SECURE_CHANNELS="false", JWT_SECRET=SECRET, PGCAST_BIND="127.0.0.1")
    async with connect(node.url):
        pass


def test_the_slot_is_the_one_that_was_named(published: Database, start_node: NodeFactory):
    start_node(published.dsn, SLOT_NAME="Mine_1")
    slots = published.execute(
        "select slot_name, temporary from pg_replication_slots where database = current_database()"
    )
    assert slots == [("mine_1", False)]


async def test_the_hostname_is_announced_and_not_listened_on(published: Database, start_node: NodeFactory):
    node = start_node(published.dsn, HOSTNAME="3f2a1b")
    listening = event(node, "listening")
    assert (listening["address"], listening["url"]) == ("127.0.0.1", f"http://3f2a1b:{node.port}")


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_the_family_listened_on_is_the_one_that_was_asked_for(published: Database, start_node: NodeFactory):
    node = start_node(published.dsn, REALTIME_IP_VERSION="IPv6", SECURE_CHANNELS="false")
    assert event(node, "listening")["address"] == "::"
    for address in ("127.0.0.1", "[::1]"):
        with urllib.request.urlopen(f"http://{address}:{node.port}/healthcheck", timeout=5) as response:
            assert response.read() == b"ok"


async def test_only_addresses_of_the_family_are_tried_for_the_database(
    cluster: Cluster, published: Database, start_node: NodeFactory
):
    node = start_node(
        "",
        DB_HOST="localhost",
        DB_PORT=str(cluster.port),
        DB_NAME=published.name,
        DB_PASSWORD=cluster.password,
        DB_IP_VERSION="IPv4",
    )
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", TODOS)
        published.execute("insert into todos values (1, 'milk')")
        assert (await client.change())["data"]["record"]["id"] == 1
    other = start_node(
        "", start=False, DB_HOST="127.0.0.1", DB_PORT=str(cluster.port), DB_NAME=published.name, DB_IP_VERSION="IPv6"
    )
    other.start(wait=False)
    assert other.process is not None
    assert other.process.wait(20) == 1
    assert "the database's host 127.0.0.1 has no IPv6 address" in other.log()


async def test_several_publications_are_followed(published: Database, start_node: NodeFactory):
    published.execute("create table other (id int primary key); create publication one for table todos;")
    published.execute("create publication two for table other")
    node = start_node(published.dsn, PUBLICATIONS='["one","two"]')
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", {"event": "*", "schema": "public"})
        published.execute("insert into todos values (1, 'milk'); insert into other values (2)")
        assert {change["table"] for change in await client.changes(2)} == {"todos", "other"}


async def test_a_temporary_slot_goes_with_its_server_and_who_comes_back_is_told(
    published: Database, start_node: NodeFactory
):
    node = start_node(published.dsn, TEMPORARY_SLOT="true")
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", TODOS)
        published.execute("insert into todos values (1, 'before')")
        position = (await client.change())["data"]["position"]
        node.kill()
    published.execute("insert into todos values (2, 'lost')")
    node.start()
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", {**TODOS, "since": position})
        gap = await client.receive_until(lambda message: message["event"] == "system")
        assert gap["payload"]["code"] == "GapDetected"
        published.execute("insert into todos values (3, 'after')")
        assert (await client.change())["data"]["record"]["id"] == 3


async def test_a_value_of_twenty_megabytes_is_delivered(node: Node, published: Database):
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", TODOS)
        published.execute("insert into todos values (1, repeat('x', 20000000))")
        assert len((await client.change(30))["data"]["record"]["title"]) == 20_000_000


@pytest.mark.parametrize(
    ("trusted", "client"), [({}, "127.0.0.1"), ({"PGCAST_TRUSTED_PROXIES": "127.0.0.0/8"}, "203.0.113.9")]
)
async def test_the_log_names_the_client_that_a_trusted_proxy_names(
    published: Database, start_node: NodeFactory, trusted: dict[str, str], client: str
):
    # uvicorn's own variable must not open another way.
    node = start_node(published.dsn, FORWARDED_ALLOW_IPS="*", **trusted)
    with pytest.raises(InvalidStatus):
        await connect(f"{node.url}?vsn=9", additional_headers={"X-Forwarded-For": "1.1.1.1, 203.0.113.9"})
    assert event(node, "handshake refused")["client"] == client


async def test_a_token_may_stand_in_the_parameter_of_the_first_servers(published: Database, start_node: NodeFactory):
    node = start_node(published.dsn, JWT_SECRET=SECRET, PGCAST_BIND="127.0.0.1")
    with pytest.raises(InvalidStatus) as caught:
        await connect(f"{node.url}?token=nonsense")
    assert json.loads(caught.value.response.body) == {"error": "The token provided is not a valid JWT"}
