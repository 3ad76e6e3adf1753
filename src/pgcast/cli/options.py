"""The option `--set NAME=VALUE`: one setting, said on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from pgcast.environment import FILE_SUFFIX
from pgcast.model.errors import SettingsError
from pgcast.settings import is_secret

if TYPE_CHECKING:
    from collections.abc import Iterable

SetOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting that wins over the environment; may be repeated."),
]


def parse_settings(texts: Iterable[str] | None) -> dict[str, str]:
    """Read what `--set` was given.

    Raises:
        SettingsError: No name or no value, or a secret: everybody on the machine can read a command line.
    """
    settings = {}
    for text in texts or ():
        name, _, value = text.partition("=")
        if not value or not name:
            raise SettingsError(f"--set {name}: expected NAME=VALUE", hint="for example --set PORT=4001")
        if is_secret(name):
            raise SettingsError(
                f"--set {name}: everybody on this machine can read a command line, and it is a secret",
                hint=f"set it in the environment, or write it into a file that {name}{FILE_SUFFIX} names",
            )
        settings[name] = value
    return settings
