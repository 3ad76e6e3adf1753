from __future__ import annotations

import pytest

from pgcast.cli.options import parse_settings
from pgcast.model.errors import SettingsError


def test_settings_are_read_up_to_the_first_equals_sign():
    assert parse_settings(["PORT=1", 'JWT_CLAIM_VALIDATORS={"a":"b=c"}']) == {
        "PORT": "1",
        "JWT_CLAIM_VALIDATORS": '{"a":"b=c"}',
    }
    assert parse_settings(None) == {}


@pytest.mark.parametrize("text", ["PORT", "=1", "", "PGCAST_STATE_DIR="])
def test_what_is_no_setting_is_refused(text: str):
    with pytest.raises(SettingsError, match="expected NAME=VALUE"):
        parse_settings([text])


@pytest.mark.parametrize("name", ["JWT_SECRET", "DB_PASSWORD", "DATABASE_URL"])
def test_a_secret_is_refused_and_not_repeated(name: str):
    with pytest.raises(SettingsError) as caught:
        parse_settings([f"{name}=geheim"])
    assert name in caught.value.message
    assert f"{name}_FILE" in caught.value.hint
    assert "geheim" not in caught.value.message + caught.value.hint
