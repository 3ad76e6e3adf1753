"""Tokens on a channel: in its join, renewed while it lives, and when they expire; over real sockets."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from fix_node import Node, NodeFactory
from minting import SECRET, mint, mint_by
from pgcast.devdb.template import Database
from realtime_client import RealtimeClient

TODOS = {"event": "*", "schema": "public", "table": "todos"}
TOPIC = "realtime:room"
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
RSA_PEM = RSA.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def secured(shared_database: Database, start_shared_node: NodeFactory) -> Node:
    shared_database.execute("create table todos (id int8 primary key, title text)")
    shared_database.execute("grant select on todos to public")
    return start_shared_node(
        shared_database.dsn,
        JWT_SECRET=SECRET,
        JWT_CLAIM_VALIDATORS='{"aud":"app"}',
        PGCAST_PUBLISHABLE_KEYS="sb_publishable_0123456789",
        PGCAST_SECRET_KEYS="sb_secret_0123456789abcdef",
        PGCAST_BIND="127.0.0.1",
    )


@pytest.fixture(autouse=True)
def _roles(roles: None) -> None:
    """The roles that the tokens name."""


def key(**claims: Any) -> str:
    return mint(**{"aud": "app", **claims})


def by_hand(algorithm: str, secret: bytes, **claims: Any) -> str:
    """A token whose HMAC is made with any bytes at all."""
    payload = {"role": "authenticated", "exp": int(time.time()) + 3600, "aud": "app", **claims}
    made = OctKey.generate_key(256)
    made._raw_value = secret
    return jws.serialize_compact({"alg": algorithm}, json.dumps(payload), made, algorithms=[algorithm])


def unsigned() -> str:
    header, claims, _ = key().split(".")
    del header
    return f"eyJhbGciOiJub25lIn0.{claims}."


NOT_A_JWT = "The token provided is not a valid JWT"
BAD = {
    "none": (unsigned(), "JwtSignerError", None),
    "a public key as the secret": (by_hand("HS256", RSA_PEM), "JwtSignatureError", "Failed to validate JWT signature"),
    "not valid yet": (key(nbf=time.time() + 3600), "MalformedJWT", NOT_A_JWT),
    "another audience": (key(aud="other"), "MalformedJWT", NOT_A_JWT),
    "a megabyte": (key(x="y" * 1_000_000), "MalformedJWT", NOT_A_JWT),
    "another secret": (
        key(secret="another secret of more than thirty-two characters"),
        "JwtSignatureError",
        "Failed to validate JWT signature",
    ),
    "no role": (key(role=None), "InvalidJWTToken", "Fields `role` and `exp` are required in JWT"),
    "no expiry": (key(lives_s=None), "InvalidJWTToken", "Fields `role` and `exp` are required in JWT"),
    "nonsense": ("nonsense", "MalformedJWT", NOT_A_JWT),
}
NO_SIGNER = "Failed to generate JWT signer, check your JWT secret or JWKS configuration"


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_token_at_the_handshake_is_refused(secured: Node, kind: str):
    token, _, text = BAD[kind]
    with pytest.raises(InvalidStatus) as caught:
        await connect(secured.url, additional_headers={"x-api-key": token})
    response = caught.value.response
    if kind == "a megabyte":
        assert response.status_code == 431  # the header itself is too large
    else:
        assert (response.status_code, json.loads(response.body)) == (401, {"error": text or NO_SIGNER})


@pytest.mark.parametrize("path", ["/api/broadcast", "/api/broadcast/room/events/hello"])
@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_token_over_http_is_refused(secured: Node, kind: str, path: str):
    body = {"messages": [{"topic": "room", "event": "hello", "payload": {}}]}
    async with httpx.AsyncClient(base_url=secured.http_url) as client:
        for headers in ({"authorization": f"Bearer {BAD[kind][0]}"}, {"apikey": BAD[kind][0]}):
            answer = await client.post(path, json=body, headers=headers)
            assert answer.status_code in ({401} if kind != "a megabyte" else {400, 401, 431})
        good = {"authorization": f"Bearer {key()}"}
        assert (await client.post(path, json=body, headers=good)).status_code == 202
        assert (await client.post(path, json=body, headers={"apikey": "sb_secret_0123456789abcdef"})).status_code == 202


@pytest.mark.parametrize("kind", [kind for kind in BAD if kind != "a megabyte"])
async def test_a_bad_token_in_a_join_is_refused_with_its_code(secured: Node, kind: str):
    token, code, text = BAD[kind]
    async with RealtimeClient(secured.url, apikey=key()) as client:
        await client.push(TOPIC, "phx_join", {"config": {}, "access_token": token})
        reply = await client.receive()
    assert reply["payload"] == {"status": "error", "response": {"reason": f"{code}: {text or NO_SIGNER}"}}


async def test_a_join_with_a_token_of_a_megabyte_is_too_large(secured: Node):
    async with RealtimeClient(secured.url, apikey=key()) as client:
        await client.push(TOPIC, "phx_join", {"config": {}, "access_token": BAD["a megabyte"][0]})
        assert (await client.receive())["payload"]["status"] == "error"


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_token_that_is_pushed_ends_the_channel_alone(secured: Node, kind: str):
    token, _, text = BAD[kind]
    async with RealtimeClient(secured.url, apikey=key()) as client:
        await client.join(TOPIC)
        await client.join("realtime:other")
        await client.push(TOPIC, "access_token", {"access_token": token})
        told = await client.receive_until(lambda message: message["event"] == "system")
        closed = await client.receive()
        assert told["payload"] == {
            "extension": "system",
            "status": "error",
            "message": text or NO_SIGNER,
            "channel": "room",
        }
        assert (closed["event"], closed["ref"], closed["topic"]) == ("phx_close", "1", TOPIC)
        await client.push("realtime:other", "phx_leave")
        assert (await client.receive())["payload"]["status"] == "ok"


async def test_an_expired_token_in_a_join_says_for_how_long(secured: Node):
    async with RealtimeClient(secured.url, apikey=key()) as client:
        await client.push(TOPIC, "phx_join", {"config": {}, "access_token": key(lives_s=-30)})
        reason = (await client.receive())["payload"]["response"]["reason"]
    assert reason in {f"InvalidJWTToken: Token has expired {seconds} seconds ago" for seconds in (30, 31, 32)}


@pytest.mark.parametrize(
    "payload",
    [
        {"access_token": "sb_publishable_other"},
        {"access_token": None},
        {"access_token": 5},
        {"access_token": ""},
        {},
        {"user_token": "USER", "access_token": "nonsense"},
    ],
)
async def test_a_join_without_a_token_of_its_own_has_the_connection_s(secured: Node, payload: dict[str, Any]):
    sent = {name: key() if value == "USER" else value for name, value in payload.items()}
    async with RealtimeClient(secured.url, apikey=key()) as client:
        await client.push(TOPIC, "phx_join", {"config": {}, **sent})
        assert (await client.receive())["payload"]["status"] == "ok"


@pytest.mark.parametrize("apikey", ["sb_publishable_0123456789", "sb_secret_0123456789abcdef"])
async def test_an_opaque_key_gets_in_and_is_no_token(secured: Node, apikey: str):
    async with RealtimeClient(secured.url, apikey=apikey) as client:
        await client.push(TOPIC, "phx_join", {"config": {"postgres_changes": [TODOS]}, "access_token": apikey})
        assert (await client.receive())["payload"]["status"] == "ok"
        await client.push(TOPIC, "access_token", {"access_token": apikey})
        await client.push("phoenix", "heartbeat", join_ref=None)
        assert (await client.receive_until(lambda message: message["topic"] == "phoenix"))["ref"] is not None


async def test_the_token_in_use_changes_nothing_and_a_new_one_subscribes_again(
    secured: Node, shared_database: Database
):
    first, second = key(), key(sub="ada")
    async with RealtimeClient(secured.url, apikey=key()) as client:
        await client.push(TOPIC, "phx_join", {"config": {"postgres_changes": [TODOS]}, "access_token": first})
        await client.receive_until(lambda message: message["event"] == "system")
        for _ in range(3):
            await client.push(TOPIC, "access_token", {"access_token": first})
        await client.push(TOPIC, "access_token", {"access_token": second})
        await client.push("phoenix", "heartbeat", join_ref=None)
        events = [await client.receive() for _ in range(2)]
        assert sorted(message["event"] for message in events) == ["phx_reply", "system"]
        told = next(message for message in events if message["event"] == "system")
        assert told["payload"]["message"] == "Subscribed to PostgreSQL"
        shared_database.execute("insert into todos values (1, 'milk')")
        assert (await client.change())["data"]["record"] == {"id": 1, "title": "milk"}


async def test_a_token_that_expires_ends_its_channel_and_the_connection_stays(secured: Node):
    async with RealtimeClient(secured.url, apikey=key()) as client:
        await client.push(TOPIC, "phx_join", {"config": {}, "access_token": key(lives_s=2)})
        await client.join("realtime:other")
        told = await client.receive_until(lambda message: message["event"] == "system")
        assert told["topic"] == TOPIC
        assert told["payload"]["message"] in {f"Token has expired {seconds} seconds ago" for seconds in (0, 1, 2)}
        assert (await client.receive())["event"] == "phx_close"
        await client.join(TOPIC)


async def test_a_new_token_in_time_keeps_the_channel(secured: Node):
    async with RealtimeClient(secured.url, apikey=key()) as client:
        await client.push(TOPIC, "phx_join", {"config": {}, "access_token": key(lives_s=2)})
        await client.push(TOPIC, "access_token", {"access_token": key()})
        with pytest.raises(TimeoutError):
            await client.receive_until(lambda message: message["event"] in {"system", "phx_close"}, 3.5)


async def test_who_comes_back_with_a_fresh_token_gets_what_it_missed(secured: Node, shared_database: Database):
    shared_database.execute("delete from todos")
    parameters = {"apikey": key(), "resume": "tab-1"}
    async with RealtimeClient(secured.url, **parameters) as client:
        await client.push(
            TOPIC, "phx_join", {"config": {"postgres_changes": [TODOS]}, "access_token": key(lives_s=2, sub="ada")}
        )
        await client.receive_until(lambda message: message["event"] == "phx_close")
        shared_database.execute("insert into todos values (10, 'while away')")
    shared_database.execute("insert into todos values (11, 'while asleep')")
    async with RealtimeClient(secured.url, **parameters) as client:
        await client.push(
            TOPIC, "phx_join", {"config": {"postgres_changes": [TODOS]}, "access_token": key(sub="ada", n=1)}
        )
        shared_database.execute("insert into todos values (12, 'awake')")
        ids: list[int] = []
        while 12 not in ids:
            change = (await client.change())["data"]
            if change["type"] == "INSERT":
                ids.append(change["record"]["id"])
    assert ids[-3:] == [10, 11, 12]


class Keys(BaseHTTPRequestHandler):
    """A site that serves a key set."""

    content: ClassVar[bytes] = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/jwks.json"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_key_set_from_a_url_rotates_while_clients_come(site: str, published: Database, start_node: NodeFactory):
    first, second = (ECKey.generate_key("P-256", {"kid": kid}) for kid in ("first", "second"))
    Keys.content = json.dumps({"keys": [first.as_dict(private=False)]}).encode()
    node = start_node(published.dsn, JWT_JWKS=site, PGCAST_BIND="127.0.0.1")
    async with RealtimeClient(node.url, apikey=mint_by(first, "ES256")) as client:
        await client.join(TOPIC)
        Keys.content = json.dumps({"keys": [second.as_dict(private=False)]}).encode()
        async with asyncio.timeout(15):
            while True:
                try:
                    async with RealtimeClient(node.url, apikey=mint_by(second, "ES256")) as newcomer:
                        await newcomer.join(TOPIC)
                        break
                except InvalidStatus:
                    # The key set was fetched a moment ago: not again so soon.
                    await asyncio.sleep(0.5)
        with pytest.raises(InvalidStatus):
            await connect(f"{node.url}?apikey={mint_by(first, 'ES256')}")
        await client.push("phoenix", "heartbeat", join_ref=None)
        await client.receive_until(lambda message: message["topic"] == "phoenix")


def test_no_secret_reaches_the_log(secured: Node):
    log = secured.log()
    for secret in (SECRET, "0123456789", key()[:20]):
        assert secret not in log
