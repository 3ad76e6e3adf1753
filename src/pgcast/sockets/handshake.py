"""The opening of a WebSocket: which path, which serializer, who is asking; and the refusals."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl, urlsplit

import orjson

from pgcast.auth.jwt import handshake_token, verify
from pgcast.frames.codec import serializer_for
from pgcast.model.errors import FrameError, TokenError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgcast.auth.keys import Keys
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
    """

    serializer: Serializer
    claims: Claims | None
    resume: str | None = None


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

    def decide(self, target: str, headers: Mapping[str, str]) -> Admission | Refusal:
        """Admit or refuse.

        Args:
            target: The request target: path and query.
            headers: By lower-case name.
        """
        ...


class TokenDoorkeeper:
    """Admits who has a valid token; everybody where no keys are configured.

    Args:
        keys: What tokens may be signed with; None where nothing authenticates clients.
        validators: Claims that a token must have.
    """

    def __init__(self, keys: Keys | None, validators: Mapping[str, object]) -> None:
        self._keys = keys
        self._validators = validators

    def decide(self, target: str, headers: Mapping[str, str]) -> Admission | Refusal:
        """Admit or refuse by path, `vsn` and token."""
        parts = urlsplit(target)
        if parts.path not in PATHS:
            return Refusal(404, f"No WebSocket here; connect to {' or '.join(sorted(PATHS))}")
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        resume = query.get("resume") or None
        if resume is not None and len(resume.encode()) > MAX_RESUME_BYTES:
            return Refusal(400, f"The parameter resume has at most {MAX_RESUME_BYTES} bytes")
        try:
            return Admission(serializer_for(query.get("vsn")), self._claims_of(query, headers), resume)
        except FrameError:
            return Refusal(403, "")
        except TokenError as error:
            return Refusal(401, error.message)

    def _claims_of(self, query: Mapping[str, str], headers: Mapping[str, str]) -> Claims | None:
        if self._keys is None:
            return None
        token = handshake_token(query, headers)
        if token is None:
            raise TokenError("API key is missing")
        return verify(token, self._keys, time.time(), self._validators)
