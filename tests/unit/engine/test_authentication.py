"""Tokens are checked at once, and once more after a look at the key set, which is looked at seldom."""

from __future__ import annotations

import asyncio
import json

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from structlog.testing import capture_logs

from fix_clock import Clock
from pgcast.auth.tokens import Tokens
from pgcast.engine.authentication import MISS_S, REFRESH_S, Authenticator
from pgcast.model.errors import KeySetUnavailable, TokenError, UnknownKey

NOW = 1_800_000_000.0
FIRST, SECOND = (ECKey.generate_key("P-256", {"kid": kid}) for kid in ("k1", "k2"))


def key_set(*keys: ECKey) -> bytes:
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]}).encode()


def token(key: ECKey) -> str:
    return jwt.encode({"alg": "ES256", "kid": key.kid}, {"role": "anon", "exp": NOW + 1e6}, key, algorithms=["ES256"])


class KeySets:
    def __init__(self, content: bytes | None) -> None:
        self.content = content
        self.fetched = 0
        self.delay_s = 0.0
        self.is_closed = False

    async def fetch(self) -> bytes:
        self.fetched += 1
        await asyncio.sleep(self.delay_s)
        if self.content is None:
            raise KeySetUnavailable("away")
        return self.content

    async def close(self) -> None:
        self.is_closed = True


def authenticator(source: KeySets | None) -> Authenticator:
    return Authenticator(Tokens(), source, lambda: NOW)


async def test_a_key_that_rotated_is_found_when_a_token_names_it(clock: Clock):
    source = KeySets(key_set(FIRST))
    asked = authenticator(source)
    await asked.load()
    assert asked.check(token(FIRST)).role == "anon"
    with pytest.raises(UnknownKey):
        asked.check(token(SECOND))

    source.content = key_set(FIRST, SECOND)
    await clock.advance(MISS_S)

    assert (await asked.check_later(token(SECOND))).role == "anon"
    assert source.fetched == 2
    await asked.close()
    assert source.is_closed


async def test_however_many_tokens_name_unknown_keys_the_key_set_is_fetched_once(clock: Clock):
    source = KeySets(key_set(FIRST))
    asked = authenticator(source)

    answers = await asyncio.gather(*(asked.check_later(token(SECOND)) for _ in range(100)), return_exceptions=True)
    answers += await asyncio.gather(*(asked.check_later(token(SECOND)) for _ in range(100)), return_exceptions=True)

    assert {type(answer) for answer in answers} == {UnknownKey}
    assert source.fetched == 1
    await clock.advance(MISS_S)
    with pytest.raises(TokenError):
        await asked.check_later(token(SECOND))
    assert source.fetched == 2


async def test_keys_go_on_while_the_key_set_cannot_be_fetched(clock: Clock):
    source = KeySets(key_set(FIRST))
    asked = authenticator(source)
    await asked.load()
    source.content = None
    await clock.advance(MISS_S)

    with capture_logs() as logged:
        with pytest.raises(KeySetUnavailable):
            await asked.check_later(token(SECOND))
        assert asked.check(token(FIRST)).role == "anon"
        await clock.advance(MISS_S)
        with pytest.raises(KeySetUnavailable):
            await asked.check_later(token(SECOND))

    assert [line["event"] for line in logged] == ["the key set cannot be used; the keys of the last time go on"]


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"[]", b"{}", b'{"keys":[]}', b'{"keys":[{"kty":"RSA","kid":"k"}]}']
)
async def test_a_key_set_that_cannot_be_read_changes_nothing(clock: Clock, content: bytes):
    source = KeySets(key_set(FIRST))
    asked = authenticator(source)
    await asked.load()
    source.content = content
    await clock.advance(MISS_S)
    await asked.load()

    assert asked.check(token(FIRST)).role == "anon"


async def test_a_key_that_was_withdrawn_is_not_trusted_any_more(clock: Clock):
    source = KeySets(key_set(FIRST))
    asked = authenticator(source)
    await asked.load()
    asked.check(token(FIRST))
    source.content = key_set(SECOND)
    await clock.advance(MISS_S)
    await asked.load()

    with pytest.raises(UnknownKey):
        asked.check(token(FIRST))


async def test_the_key_set_is_fetched_in_the_background_and_sooner_when_that_failed(clock: Clock):
    source = KeySets(key_set(FIRST))
    asked = authenticator(source)
    running = asyncio.create_task(asked.run())
    await clock.advance(1)
    assert source.fetched == 1
    await clock.advance(REFRESH_S - 2)
    assert source.fetched == 1
    source.content = None
    await clock.advance(2)
    assert source.fetched == 2
    await clock.advance(MISS_S + 1)
    assert source.fetched == 3
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_slow_key_set_is_not_waited_for_for_ever(clock: Clock):
    source = KeySets(key_set(FIRST))
    source.delay_s = 60
    asked = authenticator(source)
    waiting = asyncio.create_task(asked.check_later(token(FIRST)))
    await clock.advance(6)

    with pytest.raises(KeySetUnavailable):
        await waiting
    await asked.close()


async def test_without_a_source_a_key_that_is_not_known_stays_unknown():
    asked = authenticator(None)

    with pytest.raises(UnknownKey):
        await asked.check_later(token(FIRST))
    await asked.load()
    await asked.run()
    await asked.close()
    assert asked.now() == NOW
