import io

import pytest
from pydantic import SecretStr
from rich.console import Console

from pgcast.cli.variables import MASK, default_text, list_variables, text_of
from pgcast.settings import Settings, read_settings


@pytest.mark.parametrize("width", [60, 80, 200])
def test_every_variable_is_listed_in_order_with_its_default_and_meaning(width: int):
    out = io.StringIO()
    Console(file=out, width=width).print(list_variables())
    lines = [line.strip() for line in out.getvalue().splitlines()]
    assert max(map(len, lines)) <= width
    names = [line.split()[0] for line in lines if line and "(" in line and line.split()[0].isupper()]
    assert names == [field.alias for field in Settings.model_fields.values()]
    if width == 200:
        row = next(line for line in lines if line.startswith("PORT "))
        assert row.split(maxsplit=2) == ["PORT", "(4000)", "the HTTP and WebSocket port; 0 takes a free one"]


def test_a_default_as_it_is_listed_could_be_set():
    defaults = read_settings()
    for name, field in Settings.model_fields.items():
        text = default_text(field)
        if text != "unset":
            assert getattr(read_settings({str(field.alias): text}), name) == getattr(defaults, name), name


def test_what_has_no_default_is_unset():
    assert default_text(Settings.model_fields["bind"]) == "unset"
    assert default_text(Settings.model_fields["trusted_proxies"]) == "unset"


def test_a_value_is_shown_as_it_would_be_set_but_for_secrets():
    shown = [text_of(value) for value in (None, SecretStr("x"), True, 2.0, 0.5, ("a", "b"), {"iss": "me"}, 7)]
    assert shown == ["unset", MASK, "true", "2", "0.5", "a,b", '{"iss":"me"}', "7"]
