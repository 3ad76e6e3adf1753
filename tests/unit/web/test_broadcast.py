"""Both endpoints, asked without a server, with a room in memory."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from memory_outlet import MemoryOutlet

from fix_clock import Clock
from pgcast.engine.health import Health
from pgcast.engine.rooms import RoomKey, Rooms
from pgcast.fanout.ring import RingBudget
from pgcast.frames.codec import serializer_for
from pgcast.model.claims import Claims
from pgcast.model.errors import TokenError
from pgcast.web.broadcast import BroadcastRoute, HttpLimits
from pgcast.web.routes import make_web

ANON = Claims("anon", 0.0)
HI = {"topic": "t", "event": "hi", "payload": {"a": 1}}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)


@dataclass
class Site:
    """The application with one member in each room, and what its ports are asked."""

    clock: Clock
    limits: HttpLimits = field(default_factory=HttpLimits)
    allowed: Collection[str] = ()
    asked: list[tuple[Collection[str], Claims | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rooms = Rooms(1 << 20, RingBudget(1 << 20), gap_s=0)
        self.limited: Counter[str] = Counter()
        route = BroadcastRoute(self.rooms, self._authorize, self._may_publish, self.limits, self.limited)
        self.app = make_web(Health(), [route])

    async def _authorize(self, headers: Mapping[str, str]) -> Claims | None:
        if headers.get("apikey") == "bad":
            raise TokenError("Token has expired")
        return ANON

    async def _may_publish(
        self, topics: Collection[str], claims: Claims | None, headers: Mapping[str, str]
    ) -> Collection[str]:
        assert headers is not None
        self.asked.append((topics, claims))
        return self.allowed

    def listen(self, topic: str = "t", *, is_private: bool = False, vsn: str = "2.0.0") -> MemoryOutlet:
        outlet = MemoryOutlet()
        self.rooms.enter(RoomKey(topic, is_private), outlet, serializer_for(vsn))
        return outlet

    async def ask(
        self,
        path: str = "/api/broadcast",
        body: object = b"",
        *,
        method: str = "POST",
        query: str = "",
        address: str = "127.0.0.1",
        stalls: bool = False,
        **headers: str,
    ) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        parts = [raw[: len(raw) // 2], raw[len(raw) // 2 :]]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if stalls:
                await asyncio.Event().wait()
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": "/",  # the route reads the raw path alone
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
            "client": (address, 1),
            "server": ("127.0.0.1", 2),
        }
        await self.app(scope, receive, send)  # type: ignore[arg-type]
        self.rooms.flush_now()
        told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        text = b"".join(message.get("body", b"") for message in sent[1:]).decode()
        assert told["access-control-allow-origin"] == "*"
        return Answer(sent[0]["status"], told, text)

    async def batch(self, *messages: object, **more: Any) -> Answer:
        return await self.ask(body={"messages": messages}, **more)


@pytest.fixture
async def site(clock: Clock) -> Site:
    return Site(clock)


# A batch


@pytest.mark.parametrize("path", ["/api/broadcast", "/realtime/v1/api/broadcast", "/api/broadcast/"])
async def test_a_batch_is_delivered_as_text_to_everybody(site: Site, path: str):
    new, old = site.listen(), site.listen(vsn="1.0.0")
    answer = await site.ask(path, {"messages": [HI, {**HI, "event": "ho"}]}, query="apikey=anon&vsn=2.0.0")
    assert (answer.status, answer.text) == (202, "")
    assert [message[4] for message in new.messages] == [
        {"type": "broadcast", "event": "hi", "payload": {"a": 1}},
        {"type": "broadcast", "event": "ho", "payload": {"a": 1}},
    ]
    assert [message["payload"]["event"] for message in old.messages] == ["hi", "ho"]


async def test_an_id_comes_out_as_meta(site: Site):
    outlet = site.listen()
    await site.batch({**HI, "id": "6f1c0b2e-54a1-4a51-9c39-0e6f0c8f9a11"})
    assert outlet.messages[0][4]["meta"] == {"id": "6f1c0b2e-54a1-4a51-9c39-0e6f0c8f9a11"}


async def test_one_wrong_message_refuses_the_whole_batch(site: Site):
    outlet = site.listen()
    answer = await site.batch({"topic": "t"}, HI)
    assert answer.status == 422
    assert answer.body == {"errors": {"messages": [{"payload": ["can't be blank"], "event": ["can't be blank"]}, {}]}}
    assert outlet.messages == []


async def test_private_messages_of_a_batch_go_where_that_is_allowed_and_nobody_learns_of_it(site: Site):
    site.allowed = {"t"}
    private, public, other = site.listen(is_private=True), site.listen(), site.listen("u", is_private=True)
    answer = await site.batch({**HI, "private": True}, {**HI, "topic": "u", "private": True})
    assert answer.status == 202
    assert (len(private.messages), public.messages, other.messages) == (1, [], [])
    assert site.asked == [({"t", "u"}, ANON)]


async def test_a_batch_without_private_messages_asks_nobody(site: Site):
    await site.batch(HI)
    assert site.asked == []


async def test_a_large_batch_lets_others_run(site: Site):
    outlet = site.listen()
    assert (await site.batch(*[HI] * 1000)).status == 202
    assert len(outlet.messages) == 1000


# One message


PATH = "/realtime/v1/api/broadcast/a%20b%2Fc%3Ad/events/ev%2F1"


async def test_the_parts_of_the_path_are_decoded_after_they_are_split(site: Site):
    new, old = site.listen("a b/c:d"), site.listen("a b/c:d", vsn="1.0.0")
    answer = await site.ask(PATH, {"a": 1}, query="apikey=anon&vsn=2.0.0")
    assert (answer.status, answer.text) == (202, "")
    assert new.messages == [b'\x04\x10\x04\x00\x01realtime:a b/c:dev/1{"a": 1}']
    assert old.messages[0]["payload"] == {"type": "broadcast", "event": "ev/1", "payload": {"a": 1}}


@pytest.mark.parametrize("value", [5, "x", [1], True])
async def test_any_json_value_is_a_payload(site: Site, value: object):
    outlet = site.listen(vsn="1.0.0")
    assert (await site.ask("/api/broadcast/t/events/e", value, content_type="application/json")).status == 202
    assert outlet.messages[0]["payload"]["payload"] == value


async def test_raw_bytes_reach_those_who_can_read_them(site: Site):
    new, old = site.listen(), site.listen(vsn="1.0.0")
    answer = await site.ask("/api/broadcast/t/events/e", b"\xff\x00", content_type="application/octet-stream")
    assert answer.status == 202
    assert (new.messages, old.messages) == ([b"\x04\x0a\x01\x00\x00realtime:te\xff\x00"], [])


async def test_another_type_is_refused(site: Site):
    answer = await site.ask("/api/broadcast/t/events/e", b"x", content_type="text/plain; charset=utf-8")
    assert (answer.status, answer.body) == (
        415,
        {"error": "Unsupported Media Type. Use application/json or application/octet-stream"},
    )


@pytest.mark.parametrize("body", [b"", b"null", b" null "])
async def test_no_payload_is_refused(site: Site, body: bytes):
    answer = await site.ask("/api/broadcast/t/events/e", body)
    assert (answer.status, answer.body) == (422, {"errors": {"payload": ["can't be blank"]}})


@pytest.mark.parametrize("body", [b"{", b"\xff", b"nope"])
async def test_what_is_not_json_is_refused(site: Site, body: bytes):
    answer = await site.ask("/api/broadcast/t/events/e", body, content_type="application/json; charset=utf-8")
    assert (answer.status, answer.body) == (422, {"message": "The body is not JSON"})


@pytest.mark.parametrize("content_type", ["application/json", "application/octet-stream"])
async def test_a_payload_over_the_limit_is_refused(clock: Clock, content_type: str):
    site = Site(clock, HttpLimits(max_payload_bytes=5))
    assert (await site.ask("/api/broadcast/t/events/e", b"12345", content_type=content_type)).status == 202
    answer = await site.ask("/api/broadcast/t/events/e", b"123456", content_type=content_type)
    assert (answer.status, answer.body) == (422, {"errors": {"payload": ["Payload size exceeds tenant limit"]}})
    assert site.limited == {"payload": 1}


async def test_a_private_message_needs_permission(site: Site):
    private = site.listen(is_private=True)
    answer = await site.ask("/api/broadcast/t/events/e", {}, query="private=true")
    assert (answer.status, answer.body) == (403, {"message": "Unauthorized"})
    site.allowed = {"t"}
    assert (await site.ask("/api/broadcast/t/events/e", {}, query="private=TRUE&x=1")).status == 202
    assert (await site.ask("/api/broadcast/t/events/e", {}, query="private=1")).status == 202
    assert len(private.messages) == 2
    assert site.asked == [({"t"}, ANON)] * 3


async def test_what_may_be_meant_to_be_private_is_never_public(site: Site):
    public = site.listen()
    answer = await site.ask("/api/broadcast/t/events/e", {}, query="private=yes")
    assert (answer.status, answer.body) == (422, {"errors": {"private": ["is invalid"]}})
    assert public.messages == []
    for query in ("private=false", "private=0", "private=", "private"):
        assert (await site.ask("/api/broadcast/t/events/e", {}, query=query)).status == 202
    assert len(public.messages) == 4


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/broadcast/t", 400),
        ("/api/broadcast/t/events", 400),
        ("/api/broadcast/t/event/e", 400),
        ("/api/broadcast/a/b/events/e", 400),
        ("/api/broadcast/%ff/events/e", 400),
        ("/api/broadcast//events/e", 422),
        ("/api/broadcast/t/events/", 422),
    ],
)
async def test_a_path_that_is_no_path_is_told_so_but_never_with_404(site: Site, path: str, status: int):
    assert (await site.ask(path, {})).status == status


async def test_another_path_is_not_ours(site: Site):
    route = site.app.routes[-1]
    scope = {"type": "http", "raw_path": b"/api/broadcasts", "path": "/api/broadcasts"}
    assert route.matches(scope)[0].name == "NONE"  # type: ignore[arg-type]


# Everything


@pytest.mark.parametrize("path", ["/api/broadcast", PATH])
async def test_a_browser_is_told_that_it_may_ask(site: Site, path: str):
    answer = await site.ask(path, method="OPTIONS", apikey="bad")
    assert (answer.status, answer.text) == (204, "")
    assert answer.headers["access-control-allow-methods"] == "POST, GET, OPTIONS"
    assert answer.headers["access-control-allow-headers"] == (
        "authorization, apikey, content-type, x-client-info, prefer"
    )


@pytest.mark.parametrize("path", ["/api/broadcast", PATH])
async def test_a_bad_token_is_refused_and_not_told_why(site: Site, path: str):
    answer = await site.ask(path, {"messages": [HI]}, apikey="bad")
    assert (answer.status, answer.body) == (401, {"message": "Unauthorized"})


async def test_another_method_is_refused(site: Site):
    answer = await site.ask(method="GET")
    assert (answer.status, answer.headers["allow"]) == (405, "POST, OPTIONS")


async def test_a_body_over_the_limit_is_refused_before_it_is_read(clock: Clock):
    site = Site(clock, HttpLimits(max_body_bytes=10))
    assert (await site.ask(body=b"x" * 11)).status == 422


async def test_a_body_that_does_not_come_is_given_up(clock: Clock):
    site = Site(clock)
    asking = asyncio.create_task(site.ask(stalls=True))
    await clock.advance(31, step_s=1)
    assert (await asking).status == 408


async def test_a_fault_of_ours_is_a_500_that_a_browser_may_read(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(site.rooms, "publish", None)
    answer = await site.batch(HI)
    assert (answer.status, answer.body) == (500, {"message": "Internal server error"})


async def test_too_many_messages_from_one_address_are_refused_until_a_minute_is_over(clock: Clock):
    site = Site(clock, HttpLimits(max_messages_per_s=0.1))  # six a minute
    first = await site.batch(HI, HI)
    assert (first.status, first.headers["x-rate-limit"]) == (202, "0.1")
    assert first.headers["x-rate-rolling"] == "0.0333333"
    assert first.headers["x-rate-limit-remaining"] == "0.0666667"
    too_large = await site.batch(*[HI] * 4)
    assert (too_large.status, too_large.body) == (
        429,
        {"message": "Too many messages to broadcast, please reduce the batch size"},
    )
    for _ in range(3):
        assert (await site.ask("/api/broadcast/t/events/e", {})).status == 202
    refused = await site.ask("/api/broadcast/t/events/e", {})
    assert (refused.status, refused.body) == (429, {"message": "You have exceeded your rate limit"})
    refused = await site.batch(HI)
    assert refused.body == {"message": "You have exceeded your rate limit"}, "no batch is small enough now"
    assert site.limited == {"messages": 3}
    assert (await site.batch(HI, address="127.0.0.2")).status == 202
    clock.now_s += 60
    assert (await site.batch(HI)).status == 202
