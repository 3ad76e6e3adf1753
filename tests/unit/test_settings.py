from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgcast.model.errors import SettingsError
from pgcast.settings import (
    IGNORED,
    IpVersion,
    LegacyValues,
    LogLevel,
    Settings,
    ignored_variables,
    is_secret,
    read_settings,
    variables,
)

ANYWHERE = "0.0.0.0"  # noqa: S104 - compared with; nothing listens

WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)


def wrong(**variables: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        read_settings(variables)
    return caught.value


def test_everything_has_a_default_that_works():
    settings = read_settings()
    assert settings.slot_name == "pgcast"
    assert settings.publications == ("supabase_realtime",)
    assert settings.listen_address == "127.0.0.1"


def test_settings_come_from_the_environment_and_overrides_win(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DB_HOST", "db.example.org")
    monkeypatch.setenv("PORT", "4001")
    settings = read_settings({"PORT": "4002"})
    assert (settings.db_host, settings.port) == ("db.example.org", 4002)


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLOT_NAME", "")
    monkeypatch.setenv("JWT_SECRET", "")
    settings = read_settings()
    assert settings.slot_name == "pgcast"
    assert settings.jwt_secret is None


def test_a_variable_of_somebody_else_is_no_business_of_ours(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("slot_name", "lower case")
    monkeypatch.setenv("LOG", "nonsense")
    assert read_settings().log is LogLevel.INFO


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("one", ("one",)),
        ("one, two", ("one", "two")),
        ('["one","two"]', ("one", "two")),
        ('["with, comma"]', ("with, comma",)),
    ],
)
def test_publications_are_a_json_array_or_a_comma_list(text: str, names: tuple[str, ...]):
    assert read_settings({"PUBLICATIONS": text}).publications == names


@pytest.mark.parametrize("text", ["one,,two", "[]", '[""]', "[1]", '["one"', ","])
def test_publications_that_cannot_be_meant_are_refused(text: str):
    assert wrong(PUBLICATIONS=text).message.startswith("PUBLICATIONS: expected ")


@pytest.mark.parametrize(
    ("text", "mode"),
    [("true", "prefer"), ("False", "disable"), ("require", "require"), ("verify-full", "verify-full")],
)
def test_tls_is_the_original_server_s_boolean_or_a_mode_of_libpq(text: str, mode: str):
    assert read_settings({"DB_SSL": text}).db_ssl == mode


def test_a_slot_name_is_lower_cased_and_checked():
    assert read_settings({"SLOT_NAME": "My_Slot"}).slot_name == "my_slot"
    assert "letters, digits and underscores" in wrong(SLOT_NAME="my-slot").message
    assert "SLOT_NAME" in wrong(SLOT_NAME="s" * 64).message


@pytest.mark.parametrize(
    "variables",
    [
        {"PORT": "web"},
        {"PORT": "65536"},
        {"DB_PORT": "0"},
        {"DB_SSL": "maybe"},
        {"MAX_CONNECTIONS": "-1"},
        {"PGCAST_WINDOW_S": "0"},
        {"PGCAST_IDLE_S": "-1"},
        {"PGCAST_LOG": "loud"},
        {"TEMPORARY_SLOT": "perhaps"},
        {"JWT_CLAIM_VALIDATORS": "[]"},
        {"JWT_CLAIM_VALIDATORS": "{"},
        {"PGCAST_LEGACY_VALUES": "binary"},
        {"DB_IP_VERSION": "5"},
        {"REALTIME_IP_VERSION": "both"},
        {"PGCAST_TRUSTED_PROXIES": "10.0.0.1/8"},
        {"PGCAST_TRUSTED_PROXIES": "proxy.example.org"},
    ],
)
def test_what_is_wrong_is_said_with_the_variable_what_was_found_and_what_it_means(variables: dict[str, str]):
    ((variable, found),) = variables.items()
    error = wrong(**variables)
    assert error.message.startswith(f"{variable}: ")
    assert repr(found) in error.message
    assert error.hint.startswith(f"{variable} is ")
    assert "\n" not in error.message


def test_a_secret_is_never_repeated():
    assert "hunter2" not in repr(read_settings({"DB_PASSWORD": "hunter2", "JWT_SECRET": "hunter2"}))
    assert "hunter2" not in repr(read_settings({"DATABASE_URL": "postgresql://u:hunter2@h/d"}))


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({}, "127.0.0.1"),
        ({"SECURE_CHANNELS": "false"}, ANYWHERE),
        ({"JWT_SECRET": "x"}, ANYWHERE),
        ({"JWT_SECRET": "x", "SECURE_CHANNELS": "false"}, ANYWHERE),
        ({"PGCAST_BIND": "::1", "JWT_SECRET": "x"}, "::1"),
        ({"PGCAST_BIND": ANYWHERE, "SECURE_CHANNELS": "false"}, ANYWHERE),
        ({"HOSTNAME": "container"}, "127.0.0.1"),
        ({"REALTIME_IP_VERSION": "IPv6"}, "::1"),
        ({"REALTIME_IP_VERSION": "IPv6", "JWT_SECRET": "x"}, "::"),
        ({"REALTIME_IP_VERSION": "IPV4", "JWT_SECRET": "x"}, ANYWHERE),
        ({"REALTIME_IP_VERSION": "IPv6", "PGCAST_BIND": "127.0.0.1"}, "127.0.0.1"),
    ],
)
def test_only_loopback_is_listened_on_unless_clients_are_authenticated_or_it_was_said(
    variables: dict[str, str], address: str
):
    assert read_settings(variables).listen_address == address


@pytest.mark.parametrize(
    ("variables", "exposes"),
    [
        ({}, True),
        ({"PGCAST_BIND": "::1"}, True),
        ({"SECURE_CHANNELS": "false"}, False),
        ({"SECURE_CHANNELS": "false", "EXPOSE_METRICS": "true"}, True),
        ({"EXPOSE_METRICS": "false"}, False),
    ],
)
def test_metrics_are_for_loopback_unless_something_else_was_said(variables: dict[str, str], exposes: object):
    assert read_settings(variables).exposes_metrics is exposes


@pytest.mark.parametrize(
    ("variables", "authenticates"),
    [({}, False), ({"JWT_SECRET": "x"}, True), ({"JWT_SECRET": "x", "SECURE_CHANNELS": "false"}, False)],
)
def test_a_token_is_needed_where_a_secret_is_configured(variables: dict[str, str], authenticates: object):
    assert read_settings(variables).authenticates is authenticates


def test_claim_validators_are_a_json_object():
    assert read_settings({"JWT_CLAIM_VALIDATORS": '{"iss":"me"}'}).jwt_claim_validators == {"iss": "me"}


def test_choices_are_read_by_their_word():
    assert read_settings({"PGCAST_LEGACY_VALUES": "text"}).legacy_values is LegacyValues.TEXT
    assert read_settings({"PGCAST_LOG": "debug"}).log is LogLevel.DEBUG


def test_every_setting_has_a_variable_of_its_own_and_says_what_it_means():
    fields = Settings.model_fields.values()
    assert all(field.alias and field.description for field in fields)
    assert len({field.alias for field in fields}) == len(fields)


def test_an_address_that_would_let_everybody_in_must_be_meant():
    with pytest.raises(
        SettingsError, match=r"everybody could come in; set JWT_SECRET, JWT_JWKS or .*, or say SECURE_CHANNELS=false"
    ):
        read_settings({"PGCAST_BIND": ANYWHERE})


def test_a_temporary_slot_cannot_be_a_failover_slot():
    with pytest.raises(SettingsError, match="PGCAST_FAILOVER_SLOT: a temporary slot cannot be one"):
        read_settings({"PGCAST_FAILOVER_SLOT": "true", "TEMPORARY_SLOT": "true"})


def test_an_address_family_is_read_in_any_case():
    for text in ("IPv6", "ipv6", "IPV6"):
        assert read_settings({"DB_IP_VERSION": text}).db_ip_version is IpVersion.IPV6
    assert read_settings().db_ip_version is None


def test_trusted_proxies_are_addresses_and_networks_with_commas():
    assert read_settings({"PGCAST_TRUSTED_PROXIES": "10.0.0.0/8, ::1,"}).trusted_proxies == ("10.0.0.0/8", "::1")


@pytest.mark.parametrize(("given", "missing"), [("CERT", "KEY"), ("KEY", "CERT")])
def test_tls_needs_a_certificate_and_its_key(given: str, missing: str):
    with pytest.raises(SettingsError, match=f"PGCAST_TLS_{given} is set without PGCAST_TLS_{missing}; TLS needs both"):
        read_settings({f"PGCAST_TLS_{given}": "some.pem"})


def test_every_secret_of_the_settings_can_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    secrets = [str(field.alias) for field in Settings.model_fields.values() if is_secret(str(field.alias))]
    assert {"DATABASE_URL", "DB_PASSWORD", "JWT_SECRET"} <= set(secrets)
    contents = {
        "JWT_JWKS": "https://hunter2.example/keys",
        "PGCAST_PUBLISHABLE_KEYS": "sb_publishable_hunter2",
        "PGCAST_SECRET_KEYS": "sb_secret_hunter2_hunter2",
        "WEBHOOK_HEADERS": "X-Key=hunter2",
        "PGCAST_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    for name in secrets:
        assert f"{name}_FILE" in variables()
        (tmp_path / name).write_text(contents.get(name, "hunter2") + "\n")
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
    settings = read_settings()
    assert settings.jwt_secret is not None
    assert settings.jwt_secret.get_secret_value() == settings.db_password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings)
    assert settings.webhook_header_values == {"X-Key": "hunter2"}
    assert settings.webhook_secrets == (WEBHOOK_SECRET,)
    assert WEBHOOK_SECRET not in repr(settings)


def test_what_is_no_secret_is_shown():
    assert not is_secret("PORT")
    assert not is_secret("PGCAST_TLS_KEY")  # a path


def test_a_mistyped_variable_of_ours_is_an_error_that_names_the_nearest(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PGCAST_WINDOW", "3")
    with pytest.raises(SettingsError, match="PGCAST_WINDOW is no setting of pgcast; did you mean PGCAST_WINDOW_"):
        read_settings()


def test_variables_of_the_original_server_without_effect_are_no_settings_and_are_told(monkeypatch: pytest.MonkeyPatch):
    assert not IGNORED.keys() & variables()
    assert ignored_variables() == []
    for name in IGNORED:
        monkeypatch.setenv(name, "STREAM")
    assert ignored_variables() == list(IGNORED)
    assert read_settings() == read_settings({})


PUBLIC_KEY = '{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'


@pytest.mark.parametrize(
    "given",
    [
        {"JWT_SECRET": "x"},
        {"JWT_JWKS": PUBLIC_KEY},
        {"JWT_JWKS": "https://auth.example/keys"},
        {"PGCAST_PUBLISHABLE_KEYS": "sb_publishable_0123456789"},
        {"PGCAST_SECRET_KEYS": " sb_secret_0123456789 , sb_secret_9876543210,"},
    ],
)
def test_whatever_verifies_clients_makes_them_need_it(given: dict[str, str]):
    settings = read_settings(given)
    assert settings.authenticates
    assert not settings.listens_on_loopback
    assert not read_settings({**given, "SECURE_CHANNELS": "false"}).authenticates


@pytest.mark.parametrize("text", ["ftp://keys", "keys.json", "file:///etc/passwd", "[]"])
def test_a_key_set_is_json_or_a_url_of_http(text: str):
    with pytest.raises(SettingsError, match=r"JWT_JWKS: expected a key set such as .* or a URL"):
        read_settings({"JWT_JWKS": text})


@pytest.mark.parametrize("text", ["{", "{}", '{"keys":{}}', '{"keys":[]}', '{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}'])
def test_a_key_set_that_verifies_nothing_is_an_error_that_does_not_repeat_it(text: str):
    with pytest.raises(SettingsError, match=r"JWT_JWKS: (not a key set|no key of the key set)") as caught:
        read_settings({"JWT_JWKS": text})
    assert "c2VjcmV0" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize("variable", ["PGCAST_PUBLISHABLE_KEYS", "PGCAST_SECRET_KEYS"])
@pytest.mark.parametrize("text", [",", "sb_short", "secret_0123456789_0123456789", "sb_secret_0123456789,other"])
def test_opaque_keys_must_look_like_some_and_are_not_repeated(variable: str, text: str):
    with pytest.raises(SettingsError, match=f"{variable}: expected keys that begin with sb_") as caught:
        read_settings({variable: text})
    assert text not in str(caught.value) + caught.value.hint


def test_a_key_cannot_be_public_and_secret():
    both = {"PGCAST_PUBLISHABLE_KEYS": "sb_key_0123456789_01", "PGCAST_SECRET_KEYS": "sb_key_0123456789_01"}
    with pytest.raises(SettingsError, match="PGCAST_SECRET_KEYS: a key of PGCAST_PUBLISHABLE_KEYS") as caught:
        read_settings(both)
    assert "0123456789" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("WEBHOOK_HEADERS", "hidden", "WEBHOOK_HEADERS: expected name=value:name=value"),
        ("PGCAST_WEBHOOK_SECRET", "hidden", "PGCAST_WEBHOOK_SECRET: expected whsec_ and the base64 of 24 to 64 bytes"),
        ("PGCAST_WEBHOOK_SECRET", f"{WEBHOOK_SECRET},hidden", "PGCAST_WEBHOOK_SECRET: expected whsec_"),
        ("PGCAST_WEBHOOK_SECRET", ",", "PGCAST_WEBHOOK_SECRET: expected at least one secret"),
        ("PGCAST_WEBHOOK_DEADLINE_S", "inf", "PGCAST_WEBHOOK_DEADLINE_S: Input should be a finite number"),
        ("PGCAST_WEBHOOK_TIMEOUT_S", "0", "PGCAST_WEBHOOK_TIMEOUT_S: Input should be greater than 0"),
    ],
)
def test_a_wrong_setting_of_webhooks_is_named_without_its_secret(variable: str, value: str, message: str):
    error = wrong(**{variable: value})
    assert error.message.startswith(message)
    assert "hidden" not in error.message


def test_several_webhook_secrets_have_commas_between():
    settings = read_settings({"PGCAST_WEBHOOK_SECRET": f"{WEBHOOK_SECRET} , {WEBHOOK_SECRET}"})
    assert settings.webhook_secrets == (WEBHOOK_SECRET, WEBHOOK_SECRET)
    assert read_settings().webhook_secrets == ()


def test_hosts_and_networks_for_webhooks_are_a_comma_list():
    settings = read_settings({"PGCAST_WEBHOOK_ALLOW": "hooks.internal, 10.0.0.0/8"})
    assert settings.webhook_allow == ("hooks.internal", "10.0.0.0/8")


def test_spools_are_in_the_state_folder_or_where_programs_keep_their_state(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    assert read_settings({"PGCAST_STATE_DIR": str(tmp_path)}).webhook_folder == tmp_path / "webhooks"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    settings = read_settings({"SLOT_NAME": "mine"})
    assert settings.webhook_folder == tmp_path / "home/.local/state/pgcast/mine/webhooks"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "states"))
    assert settings.webhook_folder == tmp_path / "states/pgcast/mine/webhooks"


def test_without_a_home_spools_are_where_services_keep_their_state(monkeypatch: pytest.MonkeyPatch):
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    assert read_settings().webhook_folder == Path("/var/lib/pgcast/pgcast/webhooks")
