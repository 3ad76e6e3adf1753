"""The opening of a WebSocket: which path, which serializer, who is asking; and the refusals."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl, urlsplit

import orjson

from pgcast.auth.credentials import handshake_token, policy_headers
from pgcast.frames.codec import serializer_for
from pgcast.model.errors import FrameError, KeySetUnavailable, TokenError, UnknownKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgcast.engine.authentication import Authenticator
    from pgcast.frames.codec import Serializer
    from pgcast.model.claims import Claims

MAX_RESUME_BYTES = 128

PATHS = frozenset({"/socket/websocket", "/realtime/v1/websocket"})


@dataclass(frozen=True, slots=True)
class Admission:
    """An accepted handshake.

    Attributes:
        serializer: What the client speaks.
        claims: Who it is; None where nothing authenticates clients.
        resume: The id by which it wants to be known when it comes back; None without one.
        headers: Those of the handshake that policies can read, by lower-case name.
    """

    serializer: Serializer
    claims: Claims | None
    resume: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused handshake: an HTTP status, and a JSON body of the key `error` (empty text: no body)."""

    status: int
    error: str

    @property
    def body(self) -> bytes:
        """The response's body."""
        return orjson.dumps({"error": self.error}) if self.error else b""


class Doorkeeper(Protocol):
    """Decides on handshakes."""

    def decide(self, target: str, headers: Mapping[str, str]) -> Admission | Refusal | None:
        """Admit or refuse at once; None where `decide_later` has to be asked.

        Args:
            target: The request target: path and query.
            headers: By lower-case name.
        """
        ...

    async def decide_later(self, target: str, headers: Mapping[str, str]) -> Admission | Refusal:
        """Admit or refuse, within a deadline."""
        ...


class TokenDoorkeeper:
    """Admits who has a valid token; everybody where nothing authenticates clients.

    Args:
        authenticator: Verifies tokens; None where nothing authenticates clients.
    """

    def __init__(self, authenticator: Authenticator | None) -> None:
        self._authenticator = authenticator

    def decide(self, target: str, headers: Mapping[str, str]) -> Admission | Refusal | None:
        """Admit or refuse by path, `vsn` and token; None while the key that the token names is not known."""
        asked = _read(target, headers)
        if isinstance(asked, Refusal) or self._authenticator is None:
            return asked
        token = handshake_token(_query(target), headers)
        if token is None:
            return Refusal(401, "API key is missing")
        try:
            return replace(asked, claims=self._authenticator.check(token))
        except UnknownKey:
            return None
        except TokenError as error:
            return Refusal(401, error.message)

    async def decide_later(self, target: str, headers: Mapping[str, str]) -> Admission | Refusal:
        """Admit or refuse, after a look at the key set if one is due."""
        asked = _read(target, headers)
        if isinstance(asked, Refusal) or self._authenticator is None:
            return asked
        token = handshake_token(_query(target), headers)
        if token is None:
            return Refusal(401, "API key is missing")
        try:
            return replace(asked, claims=await self._authenticator.check_later(token))
        except TokenError as error:
            return Refusal(401, error.message)
        except KeySetUnavailable as error:
            # 401 would tell clients never to come back.
            return Refusal(503, error.message)


def _read(target: str, headers: Mapping[str, str]) -> Admission | Refusal:
    """Read everything but the token."""
    try:
        path = urlsplit(target).path
    except ValueError:
        return Refusal(400, "The request target is no URL")
    if path not in PATHS:
        return Refusal(404, f"No WebSocket here; connect to {' or '.join(sorted(PATHS))}")
    query = _query(target)
    resume = query.get("resume") or None
    if resume is not None and len(resume.encode()) > MAX_RESUME_BYTES:
        return Refusal(400, f"The parameter resume has at most {MAX_RESUME_BYTES} bytes")
    try:
        return Admission(serializer_for(query.get("vsn")), None, resume, policy_headers(headers))
    except FrameError:
        return Refusal(403, "")


def _query(target: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
