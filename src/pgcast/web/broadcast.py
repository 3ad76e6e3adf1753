"""Broadcasts over HTTP: a batch of messages, or one message whose topic and event are in the path.

The official clients use them where a channel is not joined. Browsers ask first (CORS), so every response may be read by
every origin, errors included: a token decides who may send, no cookie does.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import parse_qs, unquote_to_bytes

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match

from pgcast.channels.rates import Rate
from pgcast.engine.rooms import RoomKey
from pgcast.frames.broadcast import Broadcast, is_json
from pgcast.logs import get_logger
from pgcast.model.errors import KeySetUnavailable, PoliciesUnavailable, TokenError
from pgcast.web.batch import WORDS, blank, invalid, read_batch

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Collection, Mapping, Sequence

    from starlette.types import Receive, Scope, Send

    from pgcast.engine.rooms import Rooms
    from pgcast.model.claims import Claims
    from pgcast.web.batch import Entry

log = get_logger(__name__)

PREFIXES: Final = (b"/api/broadcast", b"/realtime/v1/api/broadcast")

_ORIGIN: Final = {"access-control-allow-origin": "*"}
_PREFLIGHT: Final = {
    **_ORIGIN,
    "access-control-allow-methods": "POST, GET, OPTIONS",
    "access-control-allow-headers": "authorization, apikey, content-type, x-client-info, prefer",
    "access-control-max-age": "86400",
}
_UNSUPPORTED: Final = "Unsupported Media Type. Use application/json or application/octet-stream"
_TOO_MANY: Final = "You have exceeded your rate limit"
_TOO_LARGE: Final = {"errors": {"payload": ["Payload size exceeds tenant limit"]}}
_BODY_S: Final = 30.0
# A connection that is closed with something unread is reset, and the answer may be lost with it.
_MAX_DISCARDED_BYTES: Final = 16 << 20
_MAX_ADDRESSES: Final = 10_000
_AT_A_TIME: Final = 100


class Authorize(Protocol):
    """Says who asks."""

    async def __call__(self, headers: Mapping[str, str]) -> Claims | None:
        """Verify the token of a request.

        Args:
            headers: By lower-case name.

        Returns:
            Who it is; None where nothing authenticates clients.

        Raises:
            TokenError: There is no token, or it is not to be trusted.
            KeySetUnavailable: That cannot be told at present.
        """
        ...


class MayPublish(Protocol):
    """Says who may publish in private rooms."""

    async def __call__(
        self, topics: Collection[str], claims: Claims | None, headers: Mapping[str, str]
    ) -> Collection[str]:
        """Return those of the topics, without `realtime:`, in whose private rooms the caller may publish.

        Raises:
            PoliciesUnavailable: That cannot be told at present.
        """
        ...


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """The bounds of what is sent over HTTP.

    Attributes:
        max_payload_bytes: The payload of one message; 0 for no limit.
        max_body_bytes: A whole request.
        max_messages_per_s: From one address, on average; 0 for no limit.
    """

    max_payload_bytes: int = 3_000_500
    max_body_bytes: int = 5_000_000
    max_messages_per_s: float = 0


class BroadcastRoute(BaseRoute):
    """Both endpoints, under both prefixes. It takes the raw path apart: a topic may have a slash in it.

    Args:
        rooms: Where to.
        authorize: Says who asks.
        may_publish: Says who may publish in private rooms.
        limits: The bounds.
        limited: Counts, by the name of the limit, what was refused.
    """

    def __init__(
        self, rooms: Rooms, authorize: Authorize, may_publish: MayPublish, limits: HttpLimits, limited: Counter[str]
    ) -> None:
        self._rooms = rooms
        self._authorize = authorize
        self._may_publish = may_publish
        self._limits = limits
        self._limited = limited
        self._rates: OrderedDict[str, Rate] = OrderedDict()

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Say whether a request is for one of the endpoints, or for something that only could be meant for one."""
        return (Match.NONE if scope["type"] != "http" or _rest_of(scope) is None else Match.FULL), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever happens."""
        request = Request(scope, receive)
        try:
            response = await self._answer(request, _rest_of(scope) or b"")
        except _Refused as refused:
            response = refused.response
        except ClientDisconnect:
            return
        except Exception:
            log.exception("a broadcast over HTTP failed")
            response = JSONResponse({"message": "Internal server error"}, 500)
        response.headers.update(_ORIGIN)
        self._tell_rate(request, response)
        await response(scope, receive, send)

    async def _answer(self, request: Request, rest: bytes) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=_PREFLIGHT)
        if request.method != "POST":
            raise _Refused(405, {"message": "Method not allowed, use POST"}, {"allow": "POST, OPTIONS"})
        try:
            claims = await self._authorize(request.headers)
        except TokenError as error:
            log.info("a broadcast over HTTP was refused", reason=error.message)
            raise _Refused(401, {"message": "Unauthorized"}) from None
        except KeySetUnavailable as error:
            raise _Refused(503, {"message": error.message}) from None
        if rest in {b"", b"/"}:
            await self._take_batch(request, claims)
        else:
            await self._take_one(request, claims, *_names_in(rest))
        return Response(status_code=202)

    async def _take_batch(self, request: Request, claims: Claims | None) -> None:
        """Publish all messages of a batch that may be; all are refused if one cannot be read."""
        entries = read_batch(await self._body(request), self._limits.max_payload_bytes)
        if not isinstance(entries, list):
            raise _Refused(422, entries)
        self._count(request, len(entries), "Too many messages to broadcast, please reduce the batch size")
        private = {entry.topic for entry in entries if entry.is_private}
        allowed = await self._allowed(private, claims, request)
        await self._publish([entry for entry in entries if not entry.is_private or entry.topic in allowed])

    async def _allowed(self, topics: Collection[str], claims: Claims | None, request: Request) -> Collection[str]:
        """Return those of some private topics to which the caller may send."""
        try:
            return await self._may_publish(topics, claims, request.headers) if topics else ()
        except PoliciesUnavailable as error:
            log.warning("a private broadcast over HTTP could not be decided", error=error.message)
            raise _Refused(503, {"message": error.reason}) from None

    async def _publish(self, entries: Sequence[Entry]) -> None:
        for number, entry in enumerate(entries, start=1):
            broadcast = Broadcast(entry.event, entry.payload, id=entry.id, is_text=True)
            self._rooms.publish(RoomKey(entry.topic, entry.is_private), broadcast)
            if number % _AT_A_TIME == 0:
                await self._rooms.have_room()

    async def _take_one(self, request: Request, claims: Claims | None, topic: str, event: str) -> None:
        is_binary = _is_binary(request.headers.get("content-type", ""))
        query = parse_qs(request.url.query)
        is_private = WORDS.get(query.get("private", [""])[-1].lower())
        if is_private is None:
            # It may be meant to be private: to take it for public would tell everybody.
            raise _Refused(422, {"errors": invalid("private")})
        key = RoomKey(topic, is_private)
        payload = await self._body(request)
        if 0 < self._limits.max_payload_bytes < len(payload):
            self._limited["payload"] += 1
            raise _Refused(422, _TOO_LARGE)
        if not is_binary:
            payload = payload.strip()
            if payload in {b"", b"null"}:
                raise _Refused(422, {"errors": blank("payload")})
            if not is_json(payload):
                raise _Refused(422, {"message": "The body is not JSON"})
        self._count(request, 1, _TOO_MANY)
        if key.is_private and topic not in await self._allowed({topic}, claims, request):
            raise _Refused(403, {"message": "Unauthorized"})
        self._rooms.publish(key, Broadcast(event, payload, is_json=not is_binary))

    async def _body(self, request: Request) -> bytes:
        limit = self._limits.max_body_bytes
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(_BODY_S):
                async for part in request.stream():
                    size += len(part)
                    if size <= limit:
                        parts.append(part)
                    elif size > limit + _MAX_DISCARDED_BYTES:
                        break  # who never ends loses the answer
        except TimeoutError:
            text = f"The body did not arrive within {_BODY_S:g} s"
            raise _Refused(408, {"message": text}, {"connection": "close"}) from None
        if size > limit:
            self._limited["payload"] += 1
            raise _Refused(422, _TOO_LARGE, {"connection": "close"})
        return b"".join(parts)

    def _count(self, request: Request, amount: int, text: str) -> None:
        rate = self._rate_of(request)
        if rate is None:
            return
        now_s = asyncio.get_running_loop().time()
        if rate.has_room(now_s, amount):
            rate.count(now_s, amount)
            return
        if not rate.has_room(now_s, 1):
            text = _TOO_MANY  # a smaller batch would be of no use
        self._limited["messages"] += 1
        raise _Refused(429, {"message": text})

    def _rate_of(self, request: Request) -> Rate | None:
        """Return what counts the messages of the caller's address; None without a limit."""
        if not self._limits.max_messages_per_s:
            return None
        address = request.client.host if request.client is not None else ""
        rate = self._rates.pop(address, None) or Rate(self._limits.max_messages_per_s)
        self._rates[address] = rate
        if len(self._rates) > _MAX_ADDRESSES:
            self._rates.popitem(last=False)
        return rate

    def _tell_rate(self, request: Request, response: Response) -> None:
        rate = self._rate_of(request)
        if rate is not None:
            average = rate.average(asyncio.get_running_loop().time())
            response.headers["x-rate-rolling"] = f"{average:g}"
            response.headers["x-rate-limit"] = f"{rate.limit_per_s:g}"
            response.headers["x-rate-limit-remaining"] = f"{max(0.0, rate.limit_per_s - average):g}"


class _Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.response = JSONResponse(body, status, headers)


def _rest_of(scope: Scope) -> bytes | None:
    """Return what of a request's path follows the prefix, still encoded; None for another path."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    for prefix in PREFIXES:
        rest = path.removeprefix(prefix)
        if len(rest) < len(path) and rest[:1] in {b"", b"/"}:
            return rest
    return None


def _names_in(rest: bytes) -> tuple[str, str]:
    """Read `/{topic}/events/{event}`; each part may decode to anything.

    A status of 404 would tell clients that the server is too old for this endpoint.
    """
    parts = rest.split(b"/")
    if len(parts) != 4 or parts[2] != b"events":
        raise _Refused(400, {"message": "Expected /api/broadcast/{topic}/events/{event}, each part percent-encoded"})
    try:
        topic, event = (unquote_to_bytes(part).decode() for part in (parts[1], parts[3]))
    except UnicodeDecodeError:
        raise _Refused(400, {"message": "The topic and the event must be UTF-8"}) from None
    errors = blank(*(name for name, text in (("topic", topic), ("event", event)) if not text))
    if errors:
        raise _Refused(422, {"errors": errors})
    return topic, event


def _is_binary(content_type: str) -> bool:
    """Say whether a body is raw bytes; it is JSON otherwise.

    Raises:
        _Refused: It is something else.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in {"", "application/json", "application/octet-stream"}:
        raise _Refused(415, {"error": _UNSUPPORTED})
    return media_type == "application/octet-stream"
