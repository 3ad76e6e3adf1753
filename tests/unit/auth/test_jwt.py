import base64
import hashlib
import hmac
import json
import warnings

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from pgcast.auth.jwt import LEEWAY_S, MAX_TOKEN_CHARS, verify
from pgcast.auth.keys import Keys, read_key_set, shared_secret
from pgcast.model.claims import Claims
from pgcast.model.errors import TokenError, UnknownKey

SECRET = "super-secret-jwt-token-with-at-least-32-characters-long"
KEYS = shared_secret(SECRET)
NOW = 1_800_000_000.25
VALID = {"role": "authenticated", "exp": 1_800_003_600}

NOT_A_JWT = ("MalformedJWT", "The token provided is not a valid JWT")
FIELDS_REQUIRED = ("InvalidJWTToken", "Fields `role` and `exp` are required in JWT")
BAD_SIGNATURE = ("JwtSignatureError", "Failed to validate JWT signature")
NO_SIGNER = ("JwtSignerError", "Failed to generate JWT signer, check your JWT secret or JWKS configuration")
EXPIRED = ("InvalidJWTToken", "Token has expired")


def base64url(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def sign(claims, header=None, secret=SECRET, digest=hashlib.sha256):
    """Make a token by hand, so that no rule of a library stands between a test and what it sends."""
    header = {"alg": "HS256", "typ": "JWT"} if header is None else header
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    signed = ".".join(map(base64url, parts))
    return f"{signed}.{base64url(hmac.new(secret.encode(), signed.encode(), digest).digest())}"


def refusal_of(token, keys=KEYS, now=NOW, validators=None):
    with pytest.raises(TokenError) as caught:
        verify(token, keys, now, validators or {})
    return caught.value.join_code, caught.value.message


# What is trusted


@pytest.mark.parametrize(
    ("algorithm", "digest"), [("HS256", hashlib.sha256), ("HS384", hashlib.sha384), ("HS512", hashlib.sha512)]
)
def test_a_token_of_the_shared_secret_gives_its_claims(algorithm, digest):
    claims = {**VALID, "sub": "ada", "app_metadata": {"a": [1, None]}}

    assert verify(sign(claims, {"alg": algorithm}, digest=digest), KEYS, NOW, {}) == Claims(
        "authenticated", 1_800_003_600.0, claims
    )


def test_a_header_may_be_written_with_blanks_and_line_ends():
    # The one of RFC 7515 appendix A.1.
    header = b'{"typ":"JWT",\r\n "alg":"HS256"}'

    assert verify(sign(VALID, header), KEYS, NOW, {}).role == "authenticated"


@pytest.mark.parametrize("secret", ["x", "secret"])
def test_a_short_secret_works_without_a_warning(secret):
    assert verify(sign(VALID, secret=secret), shared_secret(secret), NOW, {}).role == "authenticated"


def test_an_unknown_key_id_falls_back_to_the_shared_secret():
    assert verify(sign(VALID, {"alg": "HS256", "kid": "k1"}), KEYS, NOW, {}).role == "authenticated"


def test_a_header_of_parameters_nobody_knows_is_trusted():
    assert verify(sign(VALID, {"alg": "HS256", "app": {"a": 1}}), KEYS, NOW, {}).role == "authenticated"


@pytest.mark.parametrize(
    ("exp", "expires_at"), [(1_800_000_001.4, 1_800_000_001.0), (1_800_000_001.6, 1_800_000_002.0)]
)
def test_an_expiry_with_decimals_is_rounded(exp, expires_at):
    assert verify(sign({**VALID, "exp": exp}), KEYS, NOW, {}).expires_at == expires_at


# What is not


@pytest.mark.parametrize(
    "token",
    [
        "",
        "nonsense",
        "a.b",
        "a.b.c.d",
        "...",
        "..",
        "é.é.é",
        "\ud800.x.y",
        f"{base64url(b'nonsense')}.e30.x",
        f"{base64url(b'[' * 300)}.e30.x",
        f"{base64url(b'{}')}.e30.x",
        f"{base64url(b'7')}.e30.x",
        f"{base64url(b'null')}.e30.x",
        sign(VALID, ["alg"]),
        sign(VALID, ["alg", "b64"]),
        sign(VALID, b'"alg"'),
        sign(VALID, {"alg": ["HS256"]}),
        sign(VALID, {"alg": None}),
        sign(VALID, {"alg": "HS256", "kid": 5}),
        sign(VALID, {"alg": "HS256", "crit": ["x"], "x": 1}),
        sign(VALID, {"alg": "HS256", "b64": False}),
        sign([]),
        sign(b"nonsense"),
        sign(b'"text"'),
        sign(b"null"),
        sign(b'{"role":"\xff"}'),
        sign(b"[" * 30_000),
        sign(b'{"a":' * 9_000 + b"1" + b"}" * 9_000),
        sign({**VALID, "exp": "1800003600"}),
        sign({**VALID, "exp": True}),
        sign({**VALID, "exp": {}}),
        sign({**VALID, "iat": "yesterday"}),
        sign(b'{"role":"anon","exp":NaN}'),
        sign(b'{"role":"anon","exp":1e999}'),
    ],
)
def test_what_is_no_token_is_not_a_valid_jwt(token):
    assert refusal_of(token) == NOT_A_JWT


@pytest.mark.parametrize("length", [60_000, 1_000_000])
def test_a_token_that_is_too_long_is_refused_however_well_it_is_signed(length):
    token = sign({**VALID, "x": "y" * length})

    assert len(token) > MAX_TOKEN_CHARS
    assert refusal_of(token) == NOT_A_JWT


def test_a_large_token_within_the_limit_is_read():
    assert verify(sign({**VALID, "x": "y" * 40_000}), KEYS, NOW, {}).role == "authenticated"


def test_another_secret_is_a_bad_signature():
    assert refusal_of(sign(VALID, secret="another")) == BAD_SIGNATURE


def test_changed_claims_are_a_bad_signature():
    header, _, signature = sign(VALID).split(".")
    changed = base64url(json.dumps({**VALID, "role": "service_role"}).encode())

    assert refusal_of(f"{header}.{changed}.{signature}") == BAD_SIGNATURE


@pytest.mark.parametrize("signature", ["", "AAAA", "!", "é"])
def test_a_missing_or_foreign_signature_is_a_bad_one(signature):
    header, claims, _ = sign(VALID).split(".")

    assert refusal_of(f"{header}.{claims}.{signature}") == BAD_SIGNATURE


def test_a_signature_of_another_digest_is_a_bad_one():
    assert refusal_of(sign(VALID, {"alg": "HS512"}, digest=hashlib.sha256)) == BAD_SIGNATURE


def test_the_signature_is_looked_at_before_the_claims():
    assert refusal_of(sign({}, secret="another")) == BAD_SIGNATURE
    assert refusal_of(sign(b"nonsense", secret="another")) == BAD_SIGNATURE


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "RS256", "ES256", "PS256", "EdDSA", "HS1", "hs256", ""])
def test_no_other_algorithm_is_accepted(algorithm):
    assert refusal_of(sign(VALID, {"alg": algorithm})) == NO_SIGNER
    header, claims, _ = sign(VALID, {"alg": algorithm}).split(".")
    assert refusal_of(f"{header}.{claims}.") == NO_SIGNER


def test_an_algorithm_without_key_is_refused_with_the_key_id():
    assert refusal_of(sign(VALID, {"alg": "RS256", "kid": "k"})) == (
        "JwtSignerError",
        'Failed to generate JWT signer for key ID (kid) "k", check your JWT secret or JWKS configuration',
    )


def test_without_a_secret_no_token_is_accepted():
    assert refusal_of(sign(VALID, secret=""), keys=Keys()) == NO_SIGNER


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"role": "anon"},
        {"exp": 1_800_003_600},
        {**VALID, "role": None},
        {**VALID, "role": ""},
        {**VALID, "role": 5},
        {**VALID, "exp": None},
    ],
)
def test_role_and_expiry_are_required(claims):
    assert refusal_of(sign(claims)) == FIELDS_REQUIRED


@pytest.mark.parametrize("exp", [1_800_000_000, 1_799_999_999, 0, -1, 1_800_000_000.4])
def test_a_token_that_is_over_has_expired(exp):
    assert refusal_of(sign({**VALID, "exp": exp})) == EXPIRED


def test_a_token_expires_at_its_second():
    token = sign(VALID)

    assert verify(token, KEYS, 1_800_003_599.9, {}).role == "authenticated"
    assert refusal_of(token, now=1_800_003_600.0) == EXPIRED


@pytest.mark.parametrize("exp", [2**53 + 1, 10**400, -(10**400), 1e300])
def test_an_expiry_that_is_no_time_is_invalid(exp):
    assert refusal_of(sign({**VALID, "exp": exp})) == ("InvalidJWTToken", "Token expiration time is invalid")


# Claims that are demanded


@pytest.mark.parametrize(
    "validators",
    [{}, {"iss": "auth"}, {"iss": "auth", "n": 1}, {"o": {"b": 2, "a": [1, None]}}],
)
def test_claims_that_are_demanded_must_be_equal(validators):
    token = sign({**VALID, "iss": "auth", "n": 1, "o": {"a": [1, None], "b": 2}})

    assert verify(token, KEYS, NOW, validators).role == "authenticated"


@pytest.mark.parametrize("validators", [{"iss": "other"}, {"n": True}, {"n": "1"}, {"o": [1]}, {"iss": "auth", "n": 2}])
def test_another_value_is_refused(validators):
    assert refusal_of(sign({**VALID, "iss": "auth", "n": 1, "o": [True]}), validators=validators) == NOT_A_JWT


@pytest.mark.parametrize("wanted", ["auth", None])
def test_an_absent_claim_is_refused(wanted):
    assert refusal_of(sign(VALID), validators={"iss": wanted}) == NOT_A_JWT


def test_a_refusal_names_the_claim_and_repeats_no_value():
    with pytest.raises(TokenError) as caught:
        verify(sign({**VALID, "iss": "sent"}), KEYS, NOW, {"iss": "demanded"})

    assert "'iss'" in caught.value.hint
    assert "sent" not in caught.value.hint + caught.value.message
    assert "demanded" not in (caught.value.hint + caught.value.message).replace("JWT_CLAIM_VALIDATORS demands", "")


# Keys of a key set

RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
BY_ALGORITHM = {
    **dict.fromkeys(("RS256", "RS384", "RS512"), RSA),
    "ES256": ECKey.generate_key("P-256", {"kid": "p256"}),
    "ES384": ECKey.generate_key("P-384", {"kid": "p384"}),
    "ES512": ECKey.generate_key("P-521", {"kid": "p521"}),
    "EdDSA": OKPKey.generate_key("Ed25519", {"kid": "ed25519"}),
    "EdDSA ": OKPKey.generate_key("Ed448", {"kid": "ed448"}),
}
KEY_SET = Keys(
    KEYS.shared,
    read_key_set(
        json.dumps({"keys": [key.as_dict(private=False) for key in {k.kid: k for k in BY_ALGORITHM.values()}.values()]})
    ),
)


def sign_with(key, algorithm, claims=VALID, kid=None):
    header = {"alg": algorithm, "kid": kid or key.kid}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return jws.serialize_compact(header, json.dumps(claims), key, algorithms=[algorithm])


@pytest.mark.parametrize("algorithm", BY_ALGORITHM)
def test_a_token_of_a_key_set_is_verified_by_the_key_of_its_id(algorithm):
    token = sign_with(BY_ALGORITHM[algorithm], algorithm.strip())

    assert verify(token, KEY_SET, NOW, {}).role == "authenticated"
    header, claims, signature = token.split(".")
    assert refusal_of(f"{header}.{claims}.{'A' * len(signature)}", KEY_SET) == BAD_SIGNATURE
    assert refusal_of(f"{header}.{claims}.", KEY_SET) == BAD_SIGNATURE


def test_a_public_key_is_no_secret_whatever_its_form():
    public = RSA.public_key
    forms = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(RSA.as_dict(private=False)).encode(),
    ]
    for form in forms:
        for kid in ("rsa", "other", None):
            header = {"alg": "HS256", **({"kid": kid} if kid else {})}
            signed = ".".join(base64url(json.dumps(part).encode()) for part in (header, VALID))
            signature = base64url(hmac.new(form, signed.encode(), hashlib.sha256).digest())
            assert refusal_of(f"{signed}.{signature}", KEY_SET) == BAD_SIGNATURE


def test_a_key_that_is_not_known_may_still_come():
    stranger = ECKey.generate_key("P-256", {"kid": "new"})

    with pytest.raises(UnknownKey) as caught:
        verify(sign_with(stranger, "ES256"), KEY_SET, NOW, {})
    assert caught.value.reason == (
        'JwtSignerError: Failed to generate JWT signer for key ID (kid) "new", check your JWT secret or JWKS '
        "configuration"
    )


@pytest.mark.parametrize("algorithm", ["none", "PS256", "ES256K", "hs256"])
def test_a_key_of_another_algorithm_will_not(algorithm):
    with pytest.raises(TokenError) as caught:
        verify(sign(VALID, {"alg": algorithm, "kid": "rsa"}), KEY_SET, NOW, {})
    assert not isinstance(caught.value, UnknownKey)


def test_a_key_of_another_type_does_not_serve():
    assert refusal_of(sign_with(BY_ALGORITHM["ES256"], "ES256", kid="rsa"), KEY_SET)[0] == "JwtSignerError"


# Times and audiences


def test_a_token_is_refused_before_its_time_but_for_clocks_that_differ():
    assert refusal_of(sign({**VALID, "nbf": NOW + LEEWAY_S + 1})) == NOT_A_JWT
    for nbf in (NOW + LEEWAY_S, NOW, 0, -1, None):
        assert verify(sign({**VALID, "nbf": nbf}), KEYS, NOW, {}).role == "authenticated"
    assert refusal_of(sign({**VALID, "nbf": "soon"})) == NOT_A_JWT


def test_an_expired_token_says_for_how_long_where_there_is_room_for_it():
    with pytest.raises(TokenError) as caught:
        verify(sign({**VALID, "exp": 1_799_999_988}), KEYS, NOW, {})
    assert caught.value.message == "Token has expired"
    assert caught.value.reason == "InvalidJWTToken: Token has expired 12 seconds ago"


@pytest.mark.parametrize(
    ("audience", "is_fine"), [("app", True), (["x", "app"], True), ("x", False), (["x"], False), ([], False)]
)
def test_an_audience_may_be_a_list(audience, is_fine):
    token = sign({**VALID, "aud": audience})

    if is_fine:
        assert verify(token, KEYS, NOW, {"aud": "app"}).role == "authenticated"
    else:
        assert refusal_of(token, validators={"aud": "app"}) == NOT_A_JWT


def test_another_claim_may_not_be_a_list():
    assert refusal_of(sign({**VALID, "iss": ["app"]}), validators={"iss": "app"}) == NOT_A_JWT
