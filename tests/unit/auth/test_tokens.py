import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from pgcast.auth.jwt import MAX_TOKEN_CHARS
from pgcast.auth.keys import Keys, shared_secret
from pgcast.auth.opaque import OpaqueKeys
from pgcast.auth.tokens import Tokens
from pgcast.model.errors import TokenError

SECRET = "a secret of more than thirty-two characters"
NOW = 1_800_000_000.0


def token(secret=SECRET, **claims):
    return jwt.encode({"alg": "HS256"}, {"role": "anon", "exp": NOW + 60, **claims}, OctKey.import_key(secret))


def test_a_token_that_was_verified_gives_the_same_claims_again():
    tokens = Tokens(shared_secret(SECRET))

    assert tokens.check(token(), NOW) is tokens.check(token(), NOW + 59)


def test_a_token_that_was_verified_expires_all_the_same():
    tokens = Tokens(shared_secret(SECRET))
    tokens.check(token(), NOW)

    for _ in range(2):
        with pytest.raises(TokenError) as caught:
            tokens.check(token(), NOW + 72.5)
        assert (caught.value.message, caught.value.told) == ("Token has expired", "Token has expired 12 seconds ago")


def test_a_token_that_is_refused_is_never_remembered():
    tokens = Tokens(shared_secret(SECRET))

    for _ in range(2):
        with pytest.raises(TokenError):
            tokens.check(token("another secret of more than thirty-two characters"), NOW)


def test_other_keys_end_the_trust_in_what_the_old_ones_signed():
    tokens = Tokens(shared_secret(SECRET))
    tokens.check(token(), NOW)

    tokens.replace_keys(Keys())

    assert tokens.keys == Keys()
    with pytest.raises(TokenError):
        tokens.check(token(), NOW)


def test_what_is_remembered_is_bounded_and_the_least_used_goes_first():
    first, second, third = (token(sub=str(number)) for number in range(3))
    tokens = Tokens(shared_secret(SECRET), max_cached_chars=2 * len(first) + 1)
    claims = tokens.check(first, NOW)
    other = tokens.check(second, NOW)
    tokens.check(first, NOW)

    tokens.check(third, NOW)

    assert tokens.check(first, NOW) is claims
    assert tokens.check(second, NOW) is not other


def test_opaque_keys_are_taken_and_unknown_ones_are_no_tokens():
    tokens = Tokens(opaque=OpaqueKeys(["sb_publishable_abc"]))

    assert tokens.check("sb_publishable_abc", NOW).role == "anon"
    with pytest.raises(TokenError, match="not a valid JWT"):
        tokens.check("sb_publishable_other", NOW)


@pytest.mark.parametrize("text", ["\ud800", "x" * (MAX_TOKEN_CHARS + 1), ""])
def test_what_is_no_token_is_refused(text):
    with pytest.raises(TokenError, match="not a valid JWT"):
        Tokens(shared_secret(SECRET)).check(text, NOW)
