"""The settings as commands show them: in the help of `pgcast serve`, and as `pgcast config` prints them."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import orjson
from pydantic import SecretStr
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

from pgcast.settings import Settings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from rich.console import RenderableType

MASK: Final = "********"
"""What stands in place of a secret."""

_TITLE: Final = "Settings, from the environment (default)"
_NOTE: Final = (
    "Each secret can also be read from a file that its variable with _FILE behind names, such as JWT_SECRET_FILE."
    " `pgcast config` prints what is in force."
)


class ListingCommand(TyperCommand):
    """A command whose help ends with the settings."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, then the settings."""
        super().format_help(ctx, formatter)
        console = Console()
        console.print(list_variables(), Text(f"\n{_NOTE}\n"))


def list_variables() -> RenderableType:
    """Return the settings as a table: variable and default, meaning; in the order of the code."""
    table = Table(box=box.SIMPLE, show_header=False, title=_TITLE, title_justify="left", pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for field in Settings.model_fields.values():
        # Text, not markup: a description may hold square brackets.
        name = Text.assemble((str(field.alias), "bold"), " ", (f"({default_text(field)})", "dim"))
        table.add_row(name, Text(str(field.description)))
    return table


def default_text(field: FieldInfo) -> str:
    """Return a setting's default as one would write it into the environment; `unset` where there is none."""
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, SecretStr):
        return value.get_secret_value()  # a default is no secret
    return text_of(value)


def text_of(value: object) -> str:
    """Return a setting's value as one would write it into the environment; `unset` where there is none."""
    match value:
        case None | ():
            return "unset"
        case SecretStr():
            return MASK
        case Enum():
            return str(value.value)
        case tuple():
            return ",".join(map(str, value))
        case bool() | dict():
            return orjson.dumps(value).decode()
    return f"{value:g}" if isinstance(value, float) else str(value)
