"""One attempt: a signed POST of one delivery, and what came of it.

Redirects are not followed, no proxy is taken from the environment, certificates are verified. What goes wrong is told
in words that hold neither the URL's query nor a header.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import httpcore
import httpx

from pgcast.webhooks.addresses import GuardedBackend, Refused, Unknown
from pgcast.webhooks.retries import retry_after_s
from pgcast.webhooks.signing import signature_headers
from pgcast.webhooks.thread import LooseThread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgcast.webhooks.addresses import AddressRules

_AGENT: Final = f"pgcast/{version('pgcast')}"
_ANSWER_BYTES: Final = 64 << 10
_KEEP_S: Final = 30.0
_GONE: Final = 410
_BROKEN: Final = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The endpoint has it."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The endpoint does not have it, as far as we know.

    Attributes:
        reason: Why, in a few words.
        retry_after_s: How long the endpoint asks to be left alone; 0 where it does not.
        is_gone: Whether the endpoint wants nothing any more.
    """

    reason: str
    retry_after_s: float = 0.0
    is_gone: bool = False


class Poster:
    """Posts to one endpoint, over connections that are kept; one attempt at a time.

    Args:
        url: The endpoint.
        headers: Sent with each delivery.
        keys: What deliveries are signed with, the newest first; none: they are not signed.
        rules: Which addresses may be posted to.
        tls: How certificates are verified.
        timeout_s: How long one attempt may take, from the look-up of the name to the end of the answer.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        keys: Sequence[bytes],
        rules: AddressRules,
        tls: ssl.SSLContext,
        timeout_s: float,
    ) -> None:
        parsed = httpx.URL(url)
        self._host = parsed.host
        self._port = parsed.port or (443 if parsed.scheme == "https" else 80)
        self._url = httpcore.URL(
            scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path
        )
        self._keys = keys
        self._timeout_s = timeout_s
        self._waits = {"timeout": {"connect": timeout_s}}
        self._headers = [
            ("Host", parsed.netloc.decode("ascii")),
            ("Content-Type", "application/json"),
            *([] if any(name.lower() == "user-agent" for name in headers) else [("User-Agent", _AGENT)]),
            *([("Authorization", _basic(parsed))] if parsed.userinfo else []),
            # What the URL itself says is about this endpoint.
            *(pair for pair in headers.items() if not parsed.userinfo or pair[0].lower() != "authorization"),
        ]
        self._lookups = LooseThread("pgcast-look-up")
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=1,
            keepalive_expiry=_KEEP_S,
            network_backend=GuardedBackend(rules, self._lookups),
        )

    async def post(self, identifier: str, body: bytes) -> Delivered | Failed:
        """Make one attempt."""
        now_s = time.time()
        headers = [
            *self._headers,
            ("Content-Length", str(len(body))),
            *signature_headers(identifier, int(now_s), body, self._keys).items(),
        ]
        answer: httpcore.Response | None = None
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._pool.stream("POST", self._url, headers=headers, content=body, extensions=self._waits) as answer,
            ):
                size = 0
                async for part in answer.aiter_stream():
                    size += len(part)
                    if size > _ANSWER_BYTES:
                        break
        except (TimeoutError, OSError, *_BROKEN) as error:
            # The status says it all: what comes of the body is read for the sake of the connection alone.
            if answer is None:
                is_late = isinstance(error, TimeoutError)
                return Failed(f"no answer within {self._timeout_s:g} s" if is_late else self._reason(error))
        if 200 <= answer.status < 300:
            return Delivered()
        asked = next((value for name, value in answer.headers if name.lower() == b"retry-after"), b"")
        return Failed(
            _status_text(answer.status),
            retry_after_s(asked.decode("latin-1"), now_s),
            is_gone=answer.status == _GONE,
        )

    async def close(self) -> None:
        """Close all connections; twice is safe."""
        await self._pool.aclose()
        self._lookups.shutdown(wait=False)

    def _reason(self, error: Exception) -> str:
        """Say what went wrong, in words that name the host at most.

        Nothing that was received is among them: whoever answers may have sent the request back.
        """
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ssl.SSLError):
            cause = cause.__cause__ or cause.__context__
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate of {self._host} is not valid: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"no TLS with {self._host}: {cause.reason or 'the connection ended'}"
        if isinstance(error, (Refused, Unknown)):
            return str(error)
        if isinstance(error, (httpcore.ConnectError, httpcore.ConnectTimeout)):
            return f"cannot connect to {self._host} port {self._port}"
        if isinstance(error, httpcore.ProtocolError) and error.__context__ is not None:  # what the parser had to say
            return f"what {self._host} port {self._port} answered is not HTTP/1.1"
        return f"the connection to {self._host} port {self._port} broke before the answer"


def _basic(url: httpx.URL) -> str:
    request = next(httpx.BasicAuth(url.username, url.password).auth_flow(httpx.Request("POST", url)))
    return request.headers["Authorization"]


def _status_text(status: int) -> str:
    phrase = httpx.codes.get_reason_phrase(status)
    return f"answered {status} {phrase}".rstrip()
