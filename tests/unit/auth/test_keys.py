import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pgcast.auth.keys import Keys, shared_secret
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
