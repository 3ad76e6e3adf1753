"""Where settings come from, with names of the tests' own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgcast.environment import MAX_FILE_BYTES, Given, Origin, collect
from pgcast.model.errors import SettingsError

KNOWN = {"PORT", "DB_PASSWORD", "PGCAST_WINDOW_MB", "PGCAST_WINDOW_S", "PGCAST_TOKEN"}
SECRETS = {"DB_PASSWORD", "PGCAST_TOKEN"}


def given(options: dict[str, str] | None = None, **environ: str) -> dict[str, Given]:
    return collect(KNOWN, SECRETS, environ, options or {})


def wrong(options: dict[str, str] | None = None, **environ: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        given(options, **environ)
    return caught.value


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("geheim\n")
    return path


def test_what_is_set_is_found_and_the_rest_is_left_out():
    assert given(PORT="1", PGCAST_WINDOW_MB="2", PATH="/bin", LOG="x") == {
        "PORT": Given("1", Origin.ENVIRONMENT),
        "PGCAST_WINDOW_MB": Given("2", Origin.ENVIRONMENT),
    }


def test_an_empty_variable_is_unset():
    assert given(PORT="", DB_PASSWORD_FILE="", PGCAST_NONSENSE="") == {}


def test_an_option_wins_over_the_environment_and_over_a_file(secret: Path):
    options = {"PORT": "2", "DB_PASSWORD": "option"}
    found = given(options, PORT="1", DB_PASSWORD_FILE=str(secret.with_name("missing")))
    assert found == {name: Given(value, Origin.OPTION) for name, value in options.items()}


def test_an_option_may_name_a_secret_s_file_and_wins_too(secret: Path):
    found = given({"DB_PASSWORD_FILE": str(secret)}, DB_PASSWORD="environment")
    assert found == {"DB_PASSWORD": Given("geheim", Origin.FILE, str(secret))}
    assert wrong({"DB_PASSWORD_FILE": str(secret.parent)}).message.startswith("DB_PASSWORD_FILE: cannot read ")


@pytest.mark.parametrize("text", [" ", "\t\n"])
def test_white_space_alone_is_a_mistake(text: str):
    for error in (wrong(DB_PASSWORD=text), wrong({"DB_PASSWORD": text})):
        assert error.message == "DB_PASSWORD is nothing but white space"
    assert given(PATH=" ") == {}


@pytest.mark.parametrize("name", sorted(SECRETS))
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_every_secret_can_be_read_from_a_file_without_its_line_end(name: str, end: str, secret: Path):
    secret.write_bytes(f" ge heim {end}".encode())
    assert given(**{f"{name}_FILE": str(secret)}) == {name: Given(" ge heim ", Origin.FILE, str(secret))}


def test_what_is_no_secret_cannot(secret: Path):
    assert "PORT" not in given(PORT_FILE=str(secret))
    assert wrong(PGCAST_WINDOW_S_FILE=str(secret)).message.endswith("did you mean PGCAST_WINDOW_S?")


def test_a_secret_that_is_given_twice_is_refused(secret: Path):
    error = wrong(DB_PASSWORD="geheim", DB_PASSWORD_FILE=str(secret))
    assert error.message == "DB_PASSWORD and DB_PASSWORD_FILE are both set"
    assert "geheim" not in error.hint


def test_a_file_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path):
    missing, empty, binary, large = (tmp_path / name for name in ("missing", "empty", "binary", "large"))
    empty.write_text("\n")
    binary.write_bytes(b"\xff\xfe")
    large.write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    for path, reason in [
        (missing, f"cannot read {missing}: No such file or directory"),
        (tmp_path, f"cannot read {tmp_path}: Is a directory"),
        (empty, f"{empty} is empty"),
        (binary, f"{binary} is not UTF-8 text"),
        (large, f"{large} is larger than 65536 bytes, which is no secret"),
    ]:
        assert wrong(PGCAST_TOKEN_FILE=str(path)).message == f"PGCAST_TOKEN_FILE: {reason}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named_too(secret: Path):
    secret.chmod(0)
    assert wrong(DB_PASSWORD_FILE=str(secret)).message == f"DB_PASSWORD_FILE: cannot read {secret}: Permission denied"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("PGCAST_WINDOWS_MB", "PGCAST_WINDOW_MB"),
        ("PGCAST_WINDOW_M", "PGCAST_WINDOW_MB"),
        ("PGCAST_PORT", "PORT"),
        ("PGCAST_DB_PASSWORD", "DB_PASSWORD"),
        ("PGCAST_DB_PASSWORD_FILE", "DB_PASSWORD_FILE"),
        ("PGCAST_TOKN_FILE", "PGCAST_TOKEN_FILE"),
    ],
)
def test_an_unknown_variable_with_our_prefix_is_refused_and_the_nearest_is_named(name: str, nearest: str):
    error = wrong(**{name: "1"})
    assert error.message == f"{name} is no setting of pgcast; did you mean {nearest}?"
    assert "--help" in error.hint


def test_one_that_is_near_nothing_is_refused_without_a_guess():
    assert wrong(PGCAST_XYZZY="1").message == "PGCAST_XYZZY is no setting of pgcast"


def test_an_unknown_option_is_refused_whatever_its_prefix():
    assert wrong({"PRT": "1"}).message == "PRT is no setting of pgcast; did you mean PORT?"
    assert wrong({"port": "1"}).message == "port is no setting of pgcast; did you mean PORT?"


@pytest.mark.parametrize(
    "name",
    [
        "PGCAST_URL",
        "PGCAST_KEY",
        "PGCAST_TEST_POSTGRES",
        "PGCAST_SERVICE_HOST",
        "PGCAST_SERVICE_PORT_HTTP",
        "PGCAST_PORT_4000_TCP_ADDR",
        "PGCAST_BLUE_SERVICE_HOST",
        "PGCAST_BLUE_PORT_4000_TCP",
    ],
)
def test_what_others_set_with_our_prefix_is_left_alone(name: str):
    assert given(**{name: "something"}) == {}


def test_the_url_that_kubernetes_gives_a_service_s_port_is_left_alone_and_a_number_is_not():
    assert given(PGCAST_PORT="tcp://10.0.0.1:4000", PGCAST_BLUE_PORT="tcp://10.0.0.1:4000") == {}
    assert "PORT" in wrong(PGCAST_PORT="4001").message
