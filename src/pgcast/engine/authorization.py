"""Who is asking, and what they may do on a topic: for joins, pushes and HTTP requests alike."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

from pgcast.auth.credentials import cleaned, http_token, policy_headers
from pgcast.auth.jwt import expired
from pgcast.auth.opaque import PREFIX, PUBLISHABLE
from pgcast.channels.rights import Right, Rights
from pgcast.engine.ports import Asker
from pgcast.model.errors import PoliciesUnavailable, TokenError, UnknownKey

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pgcast.engine.authentication import Authenticator
    from pgcast.engine.ports import Policies
    from pgcast.model.claims import Claims

_AT_A_TIME: Final = 50
"""How many topics of one request are asked about at once: those who join meanwhile must not wait for all of them."""

NOT_PREPARED: Final = "DatabaseNotPrepared: Private channels are not available here"


class Authorization:
    """What all doors of a node ask.

    Args:
        authenticator: Verifies tokens; None where nothing authenticates clients.
        policies: Knows who may do what on private topics; None where there are no private topics.
    """

    def __init__(self, authenticator: Authenticator | None = None, policies: Policies | None = None) -> None:
        self.authenticator = authenticator
        self._policies = policies

    # Who is asking

    def claims_of(self, token: str | None, connection: Claims | None) -> Claims | None:
        """Return whose rights count on a channel: its own token's, else the connection's.

        An opaque key in place of a token means the connection's, too.

        Args:
            token: As the client sent it with the channel; None if it sent none.
            connection: Of the handshake, which may have expired since; None where nothing authenticates clients.

        Raises:
            UnknownKey: `claims_of_later` may know better.
            TokenError: It is not to be trusted.
        """
        if self.authenticator is None:
            return None
        if token is not None and not cleaned(token).startswith(PREFIX):
            return self.authenticator.check(cleaned(token))
        if connection is None:
            raise TokenError("API key is missing", code="MalformedJWT")
        if connection.expires_at <= self.authenticator.now():
            raise expired(connection.expires_at, self.authenticator.now())
        return connection

    async def claims_of_later(self, token: str | None, connection: Claims | None) -> Claims | None:
        """Return what `claims_of` does, after a look at the key set if one is due.

        Raises:
            TokenError: It is not to be trusted.
            KeySetUnavailable: The key that it names is not known, and cannot be fetched: ask again later.
        """
        try:
            return self.claims_of(token, connection)
        except UnknownKey:
            if self.authenticator is None or token is None:
                raise
            return await self.authenticator.check_later(cleaned(token))

    async def claims_of_request(self, headers: Mapping[str, str]) -> Claims | None:
        """Return who makes an HTTP request; None where nothing authenticates clients.

        Args:
            headers: By lower-case name, or case-insensitive.

        Raises:
            TokenError: There is no token, or it is not to be trusted.
            KeySetUnavailable: As above.
        """
        if self.authenticator is None:
            return None
        token = http_token(headers)
        if token is None:
            raise TokenError("API key is missing", code="MalformedJWT")
        return await self.authenticator.check_later(token)

    # What they may do

    async def read_rights(self, claims: Claims | None, headers: Mapping[str, str], topic: str) -> Rights:
        """Return what somebody may do on a private topic; the rights to write are not asked yet.

        Args:
            claims: Whose; None, where nothing authenticates clients, stands for the role `anon`.
            headers: Those that policies can read.
            topic: Without `realtime:`.

        Raises:
            PoliciesUnavailable: Nobody knows.
        """
        may = await self._asked().may_read(_asker(claims, headers, topic))
        return Rights(read_broadcasts=may.broadcast, read_presence=may.presence)

    async def may(self, right: Right, claims: Claims | None, headers: Mapping[str, str], topic: str) -> bool:
        """Say whether somebody has a right on a private topic.

        Raises:
            PoliciesUnavailable: Nobody knows.
        """
        asker = _asker(claims, headers, topic)
        if right in {Right.READ_BROADCASTS, Right.READ_PRESENCE}:
            found = await self._asked().may_read(asker)
        else:
            found = await self._asked().may_write(asker)
        return found.broadcast if right in {Right.READ_BROADCASTS, Right.WRITE_BROADCASTS} else found.presence

    async def may_publish(
        self, topics: Collection[str], claims: Claims | None, headers: Mapping[str, str]
    ) -> Collection[str]:
        """Return those of some private topics, without `realtime:`, to which somebody may send broadcasts.

        Args:
            topics: Asked about together, some dozens at a time.
            claims: Whose.
            headers: Of the request: those that policies can read are picked out.

        Raises:
            PoliciesUnavailable: Nobody knows.
        """
        readable = policy_headers({name.lower(): value for name, value in headers.items()})
        allowed: set[str] = set()
        for some in _in_parts(list(topics)):
            may = [self.may(Right.WRITE_BROADCASTS, claims, readable, topic) for topic in some]
            answers = await asyncio.gather(*may)
            allowed.update(topic for topic, is_allowed in zip(some, answers, strict=True) if is_allowed)
        return allowed

    async def close(self) -> None:
        """Let go of everything; twice is safe."""
        if self._policies is not None:
            await self._policies.close()
        if self.authenticator is not None:
            await self.authenticator.close()

    def _asked(self) -> Policies:
        if self._policies is None:
            raise PoliciesUnavailable("there are no private topics here", reason=NOT_PREPARED)
        return self._policies


def _in_parts(topics: list[str]) -> Iterator[list[str]]:
    return (topics[start : start + _AT_A_TIME] for start in range(0, len(topics), _AT_A_TIME))


def _asker(claims: Claims | None, headers: Mapping[str, str], topic: str) -> Asker:
    who = PUBLISHABLE if claims is None else claims
    subject = who.values.get("sub")
    return Asker(
        role=who.role,
        claims=json.dumps(who.values),
        subject=subject if isinstance(subject, str) else "",
        headers=json.dumps(dict(headers)),
        topic=topic,
    )
