from __future__ import annotations

import asyncio
import json
import math

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from memory_policies import EVERYTHING, MemoryPolicies

from pgcast.auth.keys import shared_secret
from pgcast.auth.opaque import OpaqueKeys
from pgcast.auth.tokens import Tokens
from pgcast.channels.rights import Right, Rights
from pgcast.engine.authentication import Authenticator
from pgcast.engine.authorization import Authorization
from pgcast.engine.ports import Asker, Permission
from pgcast.model.claims import Claims
from pgcast.model.errors import PoliciesUnavailable, TokenError, UnknownKey

SECRET = "a secret of more than thirty-two characters"
NOW = 1_800_000_000.0
ADA = Claims("authenticated", NOW + 60, {"role": "authenticated", "sub": "ada"})


def token(**claims: object) -> str:
    full = {"role": "authenticated", "exp": NOW + 60, **claims}
    return jwt.encode({"alg": "HS256"}, full, OctKey.import_key(SECRET))


def authorization(policies: MemoryPolicies | None = None) -> Authorization:
    tokens = Tokens(shared_secret(SECRET), opaque=OpaqueKeys(["sb_publishable_abc"]))
    return Authorization(Authenticator(tokens, clock=lambda: NOW), policies)


def test_a_channel_has_its_own_token_s_claims_else_the_connection_s():
    asked = authorization()

    assert asked.claims_of(token(sub="bob"), ADA) == Claims(
        "authenticated", NOW + 60, {"role": "authenticated", "exp": NOW + 60, "sub": "bob"}
    )
    for none in (None, "sb_publishable_abc", " sb_anything"):
        assert asked.claims_of(none, ADA) is ADA


def test_the_connection_s_token_may_have_expired_since():
    with pytest.raises(TokenError) as caught:
        authorization().claims_of(None, Claims("anon", NOW - 7, {}))
    assert caught.value.reason == "InvalidJWTToken: Token has expired 7 seconds ago"


def test_without_any_token_nobody_is_asking():
    with pytest.raises(TokenError, match="API key is missing"):
        authorization().claims_of(None, None)


async def test_where_nothing_authenticates_clients_tokens_are_not_looked_at():
    asked = Authorization()

    assert asked.claims_of("nonsense", ADA) is None
    assert await asked.claims_of_request({}) is None
    await asked.close()


async def test_a_key_that_is_not_known_is_asked_for_once_more():
    stranger = OctKey.generate_key(256, {"kid": "new"})
    unknown = jwt.encode({"alg": "HS256", "kid": "new"}, {"role": "anon", "exp": NOW + 60}, stranger)
    asked = Authorization(Authenticator(Tokens(), clock=lambda: NOW))

    with pytest.raises(UnknownKey):
        await asked.claims_of_later(unknown, None)
    assert await asked.claims_of_later(None, ADA) is ADA


async def test_an_http_request_is_made_by_its_token():
    asked = authorization()

    by_token = await asked.claims_of_request({"authorization": f"Bearer {token()}"})
    by_key = await asked.claims_of_request({"authorization": "", "apikey": "sb_publishable_abc"})

    assert by_token is not None
    assert by_key is not None
    assert (by_token.role, by_key.role, by_key.expires_at) == ("authenticated", "anon", math.inf)
    for headers in ({}, {"authorization": "Bearer nonsense"}, {"apikey": "sb_publishable_other"}):
        with pytest.raises(TokenError):
            await asked.claims_of_request(headers)


async def test_the_policies_are_asked_as_the_client():
    policies = MemoryPolicies()
    policies.reading["authenticated"] = Permission(broadcast=True, presence=False)

    rights = await authorization(policies).read_rights(ADA, {"x-app": "shop"}, "room:1")

    assert rights == Rights(read_broadcasts=True, read_presence=False)
    assert policies.asked == [
        ("read", Asker("authenticated", json.dumps(ADA.values), "ada", '{"x-app": "shop"}', "room:1"))
    ]


async def test_nobody_in_particular_is_anon():
    policies = MemoryPolicies()
    policies.writing["anon"] = EVERYTHING

    assert await Authorization(None, policies).may(Right.WRITE_BROADCASTS, None, {}, "room:1")
    assert policies.asked == [("write", Asker("anon", '{"role": "anon"}', "", "{}", "room:1"))]


@pytest.mark.parametrize("subject", [None, 5, ["ada"]])
async def test_a_subject_that_is_no_text_is_none(subject: object):
    policies = MemoryPolicies()

    await authorization(policies).read_rights(Claims("anon", NOW, {"sub": subject}), {}, "t")

    assert policies.asked[0][1].subject == ""


@pytest.mark.parametrize("right", Right)
async def test_each_right_is_its_own(right: Right):
    policies = MemoryPolicies()
    is_read, is_broadcast = "READ" in right.name, "BROADCASTS" in right.name
    table = policies.reading if is_read else policies.writing
    table["authenticated"] = Permission(broadcast=is_broadcast, presence=not is_broadcast)
    asked = authorization(policies)

    assert [one for one in Right if await asked.may(one, ADA, {}, "t")] == [right]


async def test_without_policies_there_are_no_private_topics():
    with pytest.raises(PoliciesUnavailable) as caught:
        await Authorization().read_rights(ADA, {}, "t")
    assert caught.value.reason == "DatabaseNotPrepared: Private channels are not available here"


async def test_closing_closes_all():
    policies = MemoryPolicies()
    asked = authorization(policies)
    await asked.close()
    assert policies.is_closed


async def test_many_topics_are_asked_about_some_at_a_time_so_that_others_need_not_wait_for_all():
    policies = MemoryPolicies()
    policies.writing["authenticated"] = EVERYTHING
    policies.may_answer.clear()
    topics = [f"room:{number}" for number in range(120)]
    asking = asyncio.create_task(authorization(policies).may_publish(topics, ADA, {}))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(policies.asked) == 50
    policies.may_answer.set()

    assert await asking == set(topics)
    assert len(policies.asked) == 120
