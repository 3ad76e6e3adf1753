"""Settings to a node, which connects to nothing before it is started. A running server is tested in integration/."""

from __future__ import annotations

import json
import os
import socket

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from pgcast.app import make_authenticator, make_node, target_of
from pgcast.engine.watch import LagLimits
from pgcast.model.errors import SettingsError, TokenError
from pgcast.settings import read_settings


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)


def test_the_database_is_what_the_parts_say():
    parts = {"DB_HOST": "db", "DB_PORT": "5433", "DB_NAME": "app", "DB_USER": "me", "DB_PASSWORD": "geheim"}
    target = target_of(read_settings({**parts, "DB_SSL": "require"}))
    assert [target.host, target.port, target.dbname, target.user, target.password] == list(parts.values())
    assert target.sslmode == "require"


def test_a_url_wins_over_the_parts():
    settings = read_settings({"DATABASE_URL": "postgresql://me:secret@elsewhere:6000/other", "DB_HOST": "db"})
    target = target_of(settings)
    assert (target.host, target.port, target.dbname, target.user) == ("elsewhere", "6000", "other", "me")
    assert "secret" not in repr(target)
    assert "secret" not in str(target)


def test_a_url_that_cannot_be_read_is_an_error_that_does_not_repeat_it():
    with pytest.raises(SettingsError) as caught:
        target_of(read_settings({"DATABASE_URL": "nonsense with hunter2"}))
    assert "hunter2" not in str(caught.value)


async def test_the_settings_reach_the_node():
    settings = read_settings(
        {
            "PGCAST_WINDOW_MB": "3",
            "PGCAST_RING_MB": "2",
            "PGCAST_HOLD_S": "7",
            "MAX_CONNECTIONS": "1",
            "MAX_REPLICATION_LAG_MB": "5",
            "PGCAST_DROP_SLOT": "true",
        }
    )
    node = make_node(settings)
    assert node.hub.window.limit_bytes == 3 << 20
    assert node.hub._limits.ring_bytes == 2 << 20
    assert node.hub.hold._limit_s == 7
    assert node._limits.max_clients == 1
    assert node._limits.lag == LagLimits(warn_bytes=1 << 30, max_bytes=5 << 20, drops_slot=True)
    assert node.pipeline.health.why_not(0) == "the replication stream has not been opened yet"
    await node.stop()


@pytest.mark.parametrize(
    ("first", "longest", "expected"), [("100", "300", (0.1, 0.2, 0.3, 0.3)), ("500", "200", (0.2, 0.2, 0.2, 0.2))]
)
async def test_the_waits_before_reconnecting_are_told(first: str, longest: str, expected: tuple[float, ...]):
    node = make_node(read_settings({"DB_RECONNECT_BACKOFF_MIN": first, "DB_RECONNECT_BACKOFF_MAX": longest}))
    backoff = node.pipeline._backoff
    for most_s in expected:
        assert most_s / 2 <= backoff.next_s() <= most_s
    await node.stop()


@pytest.mark.parametrize(("text", "family"), [("IPv4", socket.AF_INET), ("IPv6", socket.AF_INET6), ("", 0)])
def test_the_family_of_the_database_s_addresses_counts_for_a_url_too(text: str, family: int):
    assert target_of(read_settings({"DB_IP_VERSION": text} if text else {})).family == family
    url = {"DATABASE_URL": "postgresql://db/app", **({"DB_IP_VERSION": text} if text else {})}
    assert target_of(read_settings(url)).family == family


async def test_without_anything_to_verify_them_by_nobody_is_asked_for_a_token():
    assert make_authenticator(read_settings({})) is None
    assert make_authenticator(read_settings({"JWT_SECRET": "x", "SECURE_CHANNELS": "false"})) is None


async def test_whatever_verifies_clients_reaches_the_authenticator():
    key = OctKey.generate_key(256, {"kid": "k1"})
    made = make_authenticator(
        read_settings(
            {
                "JWT_SECRET": "a secret of more than thirty-two characters",
                "JWT_JWKS": json.dumps({"keys": [key.as_dict(private=True)]}),
                "JWT_CLAIM_VALIDATORS": '{"aud":"app"}',
                "PGCAST_SECRET_KEYS": "sb_secret_0123456789",
            }
        )
    )
    assert made is not None
    claims = {"role": "anon", "exp": made.now() + 60, "aud": "app"}
    for token in (
        jwt.encode({"alg": "HS256"}, claims, OctKey.import_key("a secret of more than thirty-two characters")),
        jwt.encode({"alg": "HS256", "kid": "k1"}, claims, key),
        "sb_secret_0123456789",
    ):
        assert made.check(token).role in {"anon", "service_role"}
    with pytest.raises(TokenError):
        made.check(jwt.encode({"alg": "HS256", "kid": "k1"}, {**claims, "aud": "other"}, key))
    await made.close()


async def test_a_public_key_as_the_secret_is_an_error_before_anything_is_started():
    public = ECKey.generate_key("P-256").as_pem(private=False).decode()
    with pytest.raises(SettingsError, match="JWT_SECRET is a public key"):
        make_node(read_settings({"JWT_SECRET": public}))


async def test_the_limits_of_clients_reach_the_node():
    node = make_node(read_settings({"PGCAST_MAX_JOINS_PER_S": "5", "PGCAST_PRIVATE_ONLY": "true"}))
    assert node.joins.limit_per_s == 5
    assert node._limits.client.private_only
    await node.stop()
