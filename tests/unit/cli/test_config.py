from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from pgcast.cli.config import as_json, print_settings
from pgcast.settings import Settings, collect_settings, make_settings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    (tmp_path / "jwt").write_text("geheim\n")
    monkeypatch.setenv("JWT_SECRET_FILE", str(tmp_path / "jwt"))
    monkeypatch.setenv("DB_PASSWORD", "geheim")
    monkeypatch.setenv("SLOT_NAME", "Mine")
    return tmp_path / "jwt"


def test_json_tells_of_every_setting_its_value_and_where_it_comes_from(environment: Path):
    given = collect_settings({"PORT": "4001"})
    text = as_json(make_settings(given), given)
    rows = json.loads(text)
    assert list(rows) == [field.alias for field in Settings.model_fields.values()]
    assert rows["PORT"] == {"value": 4001, "origin": "option"}
    assert rows["SLOT_NAME"] == {"value": "mine", "origin": "environment"}
    assert rows["JWT_SECRET"] == {"value": "********", "origin": "file", "file": str(environment)}
    assert rows["DB_PASSWORD"] == {"value": "********", "origin": "environment"}
    assert rows["DATABASE_URL"] == {"value": None, "origin": "default"}
    assert rows["PUBLICATIONS"] == {"value": ["supabase_realtime"], "origin": "default"}
    assert rows["PGCAST_LOG"] == {"value": "info", "origin": "default"}
    assert "geheim" not in text


def test_the_table_tells_the_same_and_what_has_no_effect(environment: Path):
    given = collect_settings({"PORT": "4001", "JWT_CLAIM_VALIDATORS": '{"a":[1]}'})
    out = io.StringIO()
    print_settings(make_settings(given), given, ["MAX_CHANGES"], Console(file=out, width=200))
    rows = [line.split() for line in out.getvalue().splitlines()]
    assert ["PORT", "4001", "option"] in rows
    assert ["JWT_CLAIM_VALIDATORS", '{"a":[1]}', "option"] in rows
    assert ["JWT_SECRET", "********", str(environment)] in rows
    assert ["DB_HOST", "localhost", "default"] in rows
    assert "MAX_CHANGES has no effect: there is no limit to a batch" in out.getvalue()
    assert "geheim" not in out.getvalue()
