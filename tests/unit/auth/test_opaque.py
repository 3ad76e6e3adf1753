import math

from pgcast.auth.opaque import OpaqueKeys

KEYS = OpaqueKeys(["sb_publishable_abc"], ["sb_secret_abc", "sb_secret_def"])


def test_a_publishable_key_stands_for_anon_and_a_secret_one_for_the_service_for_ever():
    anon, service = KEYS.claims_of("sb_publishable_abc"), KEYS.claims_of("sb_secret_def")

    assert anon is not None
    assert service is not None
    assert (anon.role, anon.values, anon.expires_at) == ("anon", {"role": "anon"}, math.inf)
    assert (service.role, service.values) == ("service_role", {"role": "service_role"})


def test_any_other_key_stands_for_nobody():
    for key in ("", "sb_", "sb_publishable_ab", "sb_publishable_abcd", "SB_PUBLISHABLE_ABC", "sb_\ud800"):
        assert KEYS.claims_of(key) is None
    assert OpaqueKeys().claims_of("sb_publishable_abc") is None


def test_keys_do_not_show():
    assert "abc" not in repr(vars(KEYS))
    assert KEYS
    assert not OpaqueKeys()
