import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from pgcast.auth.keys import Keys, read_key_set, shared_secret
from pgcast.model.errors import SettingsError


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("secret", ["x", "short", "é", "super-secret-jwt-token-with-at-least-32-characters-long"])
def test_a_secret_of_any_length_serves_the_three_hmac_algorithms_without_a_warning(secret, algorithm):
    assert shared_secret(secret).key_for(algorithm).raw_value == secret.encode()


@pytest.mark.parametrize("algorithm", ["none", "RS256", "ES256", "EdDSA", "hs256", ""])
def test_no_other_algorithm_has_a_key(algorithm):
    assert shared_secret("x" * 32).key_for(algorithm) is None


def test_without_a_secret_there_is_no_key():
    assert shared_secret("") == Keys()
    assert Keys().key_for("HS256") is None


def test_a_public_key_is_no_secret():
    public = Ed25519PrivateKey.generate().public_key()

    with pytest.raises(SettingsError, match="JWT_SECRET is a public key"):
        shared_secret(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def test_what_merely_resembles_a_key_is_a_secret():
    assert shared_secret("-----BEGIN nothing in particular").key_for("HS256") is not None


def test_the_secret_does_not_show():
    assert "hunter2" not in repr(shared_secret("hunter2"))


# Key sets

ED448 = OKPKey.generate_key("Ed448", {"kid": "ed448"})
KEYS = {
    "RS256": RSAKey.generate_key(2048, {"kid": "rsa"}),
    "ES256": ECKey.generate_key("P-256", {"kid": "p256"}),
    "ES384": ECKey.generate_key("P-384", {"kid": "p384"}),
    "ES512": ECKey.generate_key("P-521", {"kid": "p521"}),
    "EdDSA": OKPKey.generate_key("Ed25519", {"kid": "ed25519"}),
    "HS256": OctKey.generate_key(256, {"kid": "oct"}),
}


def key_set(*keys, **more):
    return json.dumps({"keys": [{**key.as_dict(private=key.key_type == "oct"), **more} for key in keys]})


@pytest.mark.parametrize("algorithm", [*KEYS, "RS384", "RS512", "HS384", "HS512", "PS256", "ES256K", "none"])
def test_a_key_serves_the_algorithms_of_its_own_type_alone(algorithm):
    keys = Keys(None, read_key_set(key_set(*KEYS.values())))
    family = algorithm if algorithm in KEYS else algorithm[:2] + "256"
    expected = {KEYS[family].kid} if algorithm[:2] in {"RS", "HS"} or algorithm in KEYS else set()

    assert {key.kid for key in KEYS.values() if keys.key_for(algorithm, key.kid) is not None} == expected


def test_a_key_is_found_by_its_id_alone():
    keys = Keys(None, read_key_set(key_set(KEYS["ES256"])))

    assert keys.key_for("ES256", "p256") is not None
    assert keys.key_for("ES256", "other") is None
    assert keys.key_for("ES256") is None


def test_the_secret_of_a_key_set_wins_over_the_shared_one_which_is_for_unknown_ids():
    keys = Keys(shared_secret("x" * 32).shared, read_key_set(key_set(KEYS["HS256"], KEYS["RS256"])))

    assert keys.key_for("HS256", "oct") == KEYS["HS256"]
    assert keys.key_for("HS512", "other") == keys.key_for("HS512") == keys.shared
    assert keys.key_for("HS256", "rsa") == keys.shared  # never the public key


def test_keys_of_one_id_are_told_apart_by_their_types():
    one, other = (KEYS[name].as_dict(private=False) | {"kid": "k"} for name in ("RS256", "ES256"))
    keys = Keys(None, read_key_set(json.dumps({"keys": [one, other]})))

    assert isinstance(keys.key_for("RS256", "k"), RSAKey)
    assert isinstance(keys.key_for("ES256", "k"), ECKey)


@pytest.mark.parametrize("more", [{"use": "enc"}, {"key_ops": ["sign"]}, {"alg": "ES384"}])
def test_a_key_that_is_meant_for_something_else_is_left_out(more):
    with pytest.raises(SettingsError, match="no key of the key set can verify tokens"):
        read_key_set(key_set(KEYS["ES256"], **more))


@pytest.mark.parametrize("more", [{"use": "sig"}, {"key_ops": ["verify"]}, {"alg": "ES256"}])
def test_a_key_that_is_meant_for_this_is_taken(more):
    assert read_key_set(key_set(KEYS["ES256"], **more))


@pytest.mark.parametrize("alg", ["EdDSA", "Ed448"])
def test_an_edwards_key_may_have_either_name_of_its_algorithm(alg):
    keys = Keys(None, read_key_set(key_set(ED448, alg=alg)))

    assert keys.key_for("EdDSA", "ed448") is not None


@pytest.mark.parametrize(
    "jwk",
    [
        7,
        None,
        {},
        {"kid": "k"},
        {"kid": 5, "kty": "oct", "k": "c2VjcmV0"},
        {"kid": "k", "kty": "oct", "k": ""},
        {"kid": "k", "kty": "OKP", "crv": "X25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
        {"kid": "k", "kty": "RSA", "n": "x", "e": 3},
        {"kid": "k", "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kid": "k", "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
        {"kid": "k", "kty": "new"},
    ],
)
def test_what_nobody_could_use_is_left_out(jwk):
    good = KEYS["ES256"].as_dict(private=False)

    assert list(read_key_set(json.dumps({"keys": [jwk, good]}))) == ["p256"]


@pytest.mark.parametrize("text", ["", "x", "[]", "7", '{"keys":7}', '{"keys":{}}', "[" * 10_000, b"\xff"])
def test_what_is_no_key_set_is_refused(text):
    with pytest.raises(SettingsError, match="not a key set"):
        read_key_set(text)


def test_a_key_set_has_a_limit():
    with pytest.raises(SettingsError, match="the key set has 101 keys"):
        read_key_set(json.dumps({"keys": [{}] * 101}))


def test_keys_do_not_show():
    keys = Keys(None, read_key_set(key_set(KEYS["HS256"])))

    assert KEYS["HS256"].as_dict(private=True)["k"] not in repr(keys)
