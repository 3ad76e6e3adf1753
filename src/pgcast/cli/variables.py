"""The settings as a command's help lists them: variable, default, meaning."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from pydantic import SecretStr

from pgcast.settings import Settings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


def list_variables() -> str:
    """Return one paragraph for each setting, under a title; with typer a blank line ends a paragraph."""
    lines = [f"{field.alias} ({default_text(field)}): {field.description}" for field in Settings.model_fields.values()]
    return "\n\n".join(["Settings, from the environment (default):", *lines])


def default_text(field: FieldInfo) -> str:
    """Return a setting's default as one would write it into the environment; `unset` where there is none."""
    value = field.get_default(call_default_factory=True, validated_data={})
    match value:
        case None:
            return "unset"
        case SecretStr():
            return value.get_secret_value()  # a default is no secret
        case bool():
            return str(value).lower()
        case Enum():
            return str(value.value)
        case tuple():
            return ",".join(value)
    return str(value)
