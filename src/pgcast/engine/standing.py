"""One connection's identity, and the rights of its channels: claimed by a join, renewed by tokens, until they expire.

A channel has the claims of its own token, else those of the connection's. On a private topic the database's policies
say what it may read, before its join is answered, and what it may write, at the first use. What takes a while is done
in tasks, one for each channel and purpose; a newer token cuts short what is still to be done for an older one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from pgcast.auth.credentials import cleaned
from pgcast.auth.jwt import expired
from pgcast.channels.rights import EVERYTHING, Right
from pgcast.logs import get_logger
from pgcast.model.errors import KeySetUnavailable, PoliciesUnavailable, TokenError, UnknownKey

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from pgcast.channels.channel import Channel
    from pgcast.channels.effects import Effect
    from pgcast.channels.rights import Rights
    from pgcast.channels.session import Session
    from pgcast.engine.authorization import Authorization
    from pgcast.engine.expiry import Expiries
    from pgcast.model.claims import Claims

log = get_logger(__name__)

_MAY_NOT_READ = "You do not have permissions to read from this Channel topic: {}"
_MAY_NO_LONGER_READ = "You no longer have permission to read from this Channel topic: {}"
_READING = (Right.READ_BROADCASTS, Right.READ_PRESENCE)


class Expiring(NamedTuple):
    """A channel whose token will expire."""

    standing: Standing
    channel: Channel


class Standing:
    """One connection's.

    Args:
        session: Its protocol state.
        authorization: Knows tokens and policies.
        expiries: Watches the tokens of all connections.
        claims: Of the handshake; None where nothing authenticates clients.
        headers: Of the handshake, those that policies can read.
        perform: Performs the session's effects.
        rebind: Serves a channel's bindings with its new claims, and says so.
    """

    __slots__ = (
        "_authorization",
        "_claims",
        "_expiries",
        "_headers",
        "_perform",
        "_rebind",
        "_session",
        "_tasks",
    )

    def __init__(
        self,
        session: Session,
        authorization: Authorization,
        expiries: Expiries[Expiring],
        *,
        claims: Claims | None,
        headers: Mapping[str, str],
        perform: Callable[[Iterable[Effect]], None],
        rebind: Callable[[Channel], Coroutine[None, None, None]],
    ) -> None:
        self._session = session
        self._authorization = authorization
        self._expiries = expiries
        self._claims = claims
        self._headers = headers
        self._perform = perform
        self._rebind = rebind
        self._tasks: dict[tuple[Channel, Right | None], asyncio.Task[None]] = {}

    # A join

    def claim(self, channel: Channel) -> bool:
        """Give a channel that joins its claims; False if `rights` has to find them out.

        Raises:
            TokenError: Its token is not to be trusted.
        """
        try:
            channel.claims = self._authorization.claims_of(channel.token, self._claims)
        except UnknownKey:
            return False
        channel.token = None
        return True

    async def rights(self, channel: Channel) -> Rights | str:
        """Return what a channel that joins may do, or the reason why its join is refused."""
        try:
            if channel.token is not None:
                channel.claims = await self._authorization.claims_of_later(channel.token, self._claims)
                channel.token = None
            if not channel.is_private:
                return EVERYTHING
            rights = await self._authorization.read_rights(channel.claims, self._headers, channel.name)
        except (TokenError, KeySetUnavailable, PoliciesUnavailable) as error:
            return error.reason
        if not any(rights.has(right) for right in _READING):
            return "Unauthorized: " + _MAY_NOT_READ.format(channel.name)
        return rights

    def joined(self, channel: Channel) -> None:
        """Watch the token of a channel that has joined."""
        if channel.claims is not None:
            self._expiries.watch(Expiring(self, channel), channel.claims.expires_at)

    def left(self, channel: Channel) -> None:
        """Forget a channel; twice is safe."""
        self._expiries.forget(Expiring(self, channel))
        for purpose in (None, *Right):
            task = self._tasks.pop((channel, purpose), None)
            # A channel that ends because of what its own task found is not to be cut short by that.
            if task is not None and task is not asyncio.current_task():
                task.cancel()

    # What happens to a joined channel

    def expire(self, channel: Channel) -> None:
        """End a channel whose token has expired."""
        if channel.claims is not None and self._authorization.authenticator is not None:
            error = expired(channel.claims.expires_at, self._authorization.authenticator.now())
            self._perform(self._session.shut(channel, error.told))

    def ask(self, channel: Channel, right: Right) -> None:
        """Find out whether a channel has a right to write, and tell the session."""
        self._start(channel, right, self._ask(channel, right))

    def renew(self, channel: Channel, token: str) -> None:
        """Take a new token for a joined channel; the one it has already changes nothing."""
        authenticator = self._authorization.authenticator
        if authenticator is None:
            self._perform(self._session.renewed(channel))
            return
        try:
            claims = authenticator.check(cleaned(token))
        except UnknownKey:
            self._start(channel, None, self._renew_later(channel, cleaned(token)))
        except TokenError as error:
            self._perform(self._session.shut(channel, error.told))
        else:
            self._take(channel, claims)

    async def _ask(self, channel: Channel, right: Right) -> None:
        try:
            is_allowed = await self._authorization.may(right, channel.claims, self._headers, channel.name)
        except PoliciesUnavailable:
            # Whether it may is not known: so it is not told that it may not, but to join again.
            self._perform(self._session.broken(channel))
            return
        self._perform(self._session.right_decided(channel, right, is_allowed=is_allowed))

    async def _renew_later(self, channel: Channel, token: str) -> None:
        try:
            claims = await self._authorization.claims_of_later(token, None)
        except KeySetUnavailable:
            self._perform(self._session.broken(channel))
        except TokenError as error:
            self._perform(self._session.shut(channel, error.told))
        else:
            self._take(channel, channel.claims if claims is None else claims)

    def _take(self, channel: Channel, claims: Claims | None) -> None:
        """Go on with other claims: first the rights on the topic, then the bindings."""
        if claims is None or claims == channel.claims:
            self._perform(self._session.renewed(channel))
        elif channel.is_private:
            self._start(channel, None, self._authorize(channel, claims))
        else:
            self._accept(channel, claims, EVERYTHING)

    async def _authorize(self, channel: Channel, claims: Claims) -> None:
        try:
            rights = await self._authorization.read_rights(claims, self._headers, channel.name)
        except PoliciesUnavailable:
            self._perform(self._session.broken(channel))
            return
        if not any(rights.has(right) for right in _READING):
            self._perform(self._session.shut(channel, _MAY_NOT_READ.format(channel.name)))
        elif any(channel.rights.has(right) and not rights.has(right) for right in _READING):
            self._perform(self._session.shut(channel, _MAY_NO_LONGER_READ.format(channel.name)))
        else:
            self._accept(channel, claims, rights)

    def _accept(self, channel: Channel, claims: Claims, rights: Rights) -> None:
        channel.claims = claims
        self.joined(channel)
        self._start(channel, None, self._rebind(channel))
        self._perform(self._session.renewed(channel, rights))

    def _start(self, channel: Channel, purpose: Right | None, work: Coroutine[None, None, None]) -> None:
        """Begin to do something for a channel, in place of what was being done for the same purpose."""
        before = self._tasks.pop((channel, purpose), None)
        if before is not None and before is not asyncio.current_task():
            before.cancel()
        task = asyncio.get_running_loop().create_task(work, name="rights")
        self._tasks[channel, purpose] = task
        task.add_done_callback(lambda done: self._done(channel, purpose, done))

    def _done(self, channel: Channel, purpose: Right | None, task: asyncio.Task[None]) -> None:
        if self._tasks.get((channel, purpose)) is task:
            del self._tasks[channel, purpose]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a channel's rights could not be decided", exc_info=error)
            self._perform(self._session.broken(channel))
