"""Which token of a request counts, and who may come in without one."""

from __future__ import annotations

import time

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from pgcast.auth.keys import shared_secret
from pgcast.model.errors import TokenError
from pgcast.web.tokens import TokenAuthorizer, request_token

SECRET = "a secret that is long enough for anybody"


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({"authorization": "Bearer abc", "apikey": "key"}, "abc"),
        ({"authorization": "bEARER  a%20b "}, "a b"),
        ({"authorization": "", "apikey": "key"}, "key"),
        ({"authorization": "Bearer ", "apikey": " key "}, "key"),
        ({"authorization": "Basic abc", "apikey": "key"}, "key"),
        ({"authorization": "Basic abc"}, None),
        ({}, None),
    ],
)
def test_a_bearer_token_wins_over_the_apikey_unless_it_is_empty(headers: dict[str, str], token: str | None):
    assert request_token(headers) == token


async def test_everybody_may_come_in_where_nothing_authenticates():
    assert await TokenAuthorizer(None, {})({}) is None


async def test_a_valid_token_says_who_asks():
    token = jwt.encode({"alg": "HS256"}, {"role": "anon", "exp": time.time() + 60}, OctKey.import_key(SECRET))
    claims = await TokenAuthorizer(shared_secret(SECRET), {})({"apikey": token})
    assert claims is not None
    assert claims.role == "anon"


@pytest.mark.parametrize("headers", [{}, {"apikey": "nonsense"}])
async def test_no_token_and_a_bad_one_are_refused(headers: dict[str, str]):
    with pytest.raises(TokenError):
        await TokenAuthorizer(shared_secret(SECRET), {})(headers)
