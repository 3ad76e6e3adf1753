"""Whatever is done to a token: it is refused with one of the known texts, or it says what it said before."""

from __future__ import annotations

import base64
import json

from hypothesis import example, given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from pgcast.auth.credentials import cleaned
from pgcast.auth.keys import Keys, read_key_set, shared_secret
from pgcast.auth.opaque import OpaqueKeys
from pgcast.auth.tokens import Tokens
from pgcast.model.claims import Claims
from pgcast.model.errors import SettingsError, TokenError

NOW = 1_800_000_000.0
SECRET = "a secret of more than thirty-two characters"
KEY = ECKey.generate_key("P-256", {"kid": "k1"})
CLAIMS = {"role": "authenticated", "exp": NOW + 60, "sub": "ada"}
KEYS = Keys(shared_secret(SECRET).shared, read_key_set(json.dumps({"keys": [KEY.as_dict(private=False)]})))
GOOD = (
    jwt.encode({"alg": "HS256"}, CLAIMS, OctKey.import_key(SECRET)),
    jwt.encode({"alg": "ES256", "kid": "k1"}, CLAIMS, KEY, algorithms=["ES256"]),
)
BEGINNINGS = (
    "The token provided is not a valid JWT",
    "Failed to validate JWT signature",
    "Failed to generate JWT signer",
    "Fields `role` and `exp` are required in JWT",
    "Token has expired",
    "Token expiration time is invalid",
)


def check(token: str) -> Claims | TokenError:
    """The claims, or the refusal; nothing else may be raised."""
    try:
        return Tokens(KEYS, {}, OpaqueKeys(["sb_publishable_abc"])).check(token, NOW)
    except TokenError as error:
        return error


def judged(token: str) -> str | None:
    """The refusal, which has to be a known one, or None for the claims that the token had."""
    found = check(token)
    if isinstance(found, Claims):
        assert found.values == CLAIMS
        return None
    assert found.message.startswith(BEGINNINGS)
    assert found.reason.startswith(f"{found.join_code}: ")
    return found.message


@settings(max_examples=1000)
@given(st.sampled_from(GOOD), st.integers(0, 400), st.text(max_size=4), st.integers(0, 4))
def test_a_token_that_was_changed_is_refused(token: str, at: int, put: str, cut: int):
    at %= len(token)
    changed = token[:at] + put + token[at + cut :]

    # The last characters of base64url may carry bits that say nothing.
    if judged(changed) is None:
        assert changed.rsplit(".", 1)[0] == token.rsplit(".", 1)[0]


@given(st.text(max_size=300) | st.text('ey.J-_{}":,0', max_size=300))
@example("\ud800")
@example("sb_")
@example("sb_publishable_abd")
@example("." * 1000)
@example("e30.e30.e30")
def test_whatever_else_is_sent_is_refused(text: str):
    assert judged(cleaned(text)) is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["role", "exp", "iat", "nbf", "sub", "aud"]), json_values))
def test_claims_of_all_shapes_are_read_or_refused(claims: dict[str, object]):
    token = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET))
    found = check(token)
    if isinstance(found, Claims):
        assert found.role == claims["role"]
        assert found.expires_at > NOW
    else:
        assert found.message.startswith(BEGINNINGS)


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "x5c"]), json_values))
def test_headers_of_all_shapes_are_read_or_refused(header: dict[str, object]):
    encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    _, claims, signature = GOOD[0].split(".")

    assert judged(f"{encoded}.{claims}.{signature}") is not None


@given(
    json_values
    | st.dictionaries(
        st.just("keys"),
        st.lists(
            st.dictionaries(
                st.sampled_from(["kty", "kid", "k", "n", "e", "crv", "x", "y", "use", "alg", "key_ops", "d"]),
                json_values
                | st.sampled_from(["oct", "RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", "sig", "c2VjcmV0"]),
            ),
            max_size=3,
        ),
    )
)
def test_key_sets_of_all_shapes_are_read_or_refused(content: object):
    try:
        found = read_key_set(json.dumps(content))
    except SettingsError:
        return
    assert found
