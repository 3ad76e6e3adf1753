"""From the environment, files and options to the settings that were given, each with where it came from.

A secret may stand in a file: `NAME_FILE` names it, as container platforms hand secrets out. What a command's options
say wins over the environment. A variable that begins with PGCAST_ and means nothing is an error, because it is a
setting that somebody believes to be in force.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pgcast.model.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

PREFIX: Final = "PGCAST_"
FILE_SUFFIX: Final = "_FILE"
MAX_FILE_BYTES: Final = 64 * 1024

# What begins with our prefix and is no setting: for clients, as the examples read them; for the tests; and what
# Kubernetes and Docker's links set for every service that is called pgcast (PGCAST_SERVICE_HOST, PGCAST_PORT_4000_TCP).
_NO_SETTINGS: Final = re.compile(r"PGCAST_(URL|KEY|TEST_\w+|(\w+_)?SERVICE_(HOST|PORT)(_\w+)?|(\w+_)?PORT_\d+_\w+)")
_SERVICE_PORT: Final = re.compile(r"PGCAST_(\w+_)?PORT")
_SERVICE_URL: Final = re.compile(r"(tcp|udp|sctp)://")


class Origin(Enum):
    """Where a setting's value comes from."""

    DEFAULT = "default"
    ENVIRONMENT = "environment"
    FILE = "file"
    OPTION = "option"


@dataclass(frozen=True, slots=True)
class Given:
    """A setting that was given.

    Attributes:
        value: As text.
        origin: Where it comes from.
        file: The file that held it; None for other origins.
    """

    value: str
    origin: Origin
    file: str | None = None


def collect(
    known: Collection[str], secrets: Collection[str], environ: Mapping[str, str], options: Mapping[str, str]
) -> dict[str, Given]:
    """Find what was given. An empty variable counts as unset.

    Args:
        known: The variables that are settings.
        secrets: Those of them that may stand in a file.
        environ: The environment.
        options: Variables that a command's options set.

    Returns:
        By variable; what was not given is left out.

    Raises:
        SettingsError: A variable that means nothing, a secret that is given twice, or a file that cannot be used.
    """
    variables = {name: value for name, value in environ.items() if value}
    _refuse_unknown(variables, options, known, secrets)
    _refuse_blank({name: value for name, value in [*variables.items(), *options.items()] if name in known})
    given = {name: Given(variables[name], Origin.ENVIRONMENT) for name in known if name in variables}
    for name in secrets:
        variable = name + FILE_SUFFIX
        if variable in options:
            given[name] = Given(_read_secret(variable, options[variable]), Origin.FILE, options[variable])
        elif variable in variables and name not in options:
            if name in given:
                raise SettingsError(f"{name} and {variable} are both set", hint="unset the one that is not meant")
            given[name] = Given(_read_secret(variable, variables[variable]), Origin.FILE, variables[variable])
    given.update({name: Given(value, Origin.OPTION) for name, value in options.items() if name in known})
    return given


def _refuse_blank(values: Mapping[str, str]) -> None:
    """Refuse what a template without its variable leaves behind: for a secret, a password that anybody may guess."""
    for name, value in values.items():
        if value and not value.strip():
            raise SettingsError(f"{name} is nothing but white space", hint=f"give {name} a value, or unset it")


def _refuse_unknown(
    variables: Mapping[str, str], options: Iterable[str], known: Collection[str], secrets: Collection[str]
) -> None:
    names = {*known, *(name + FILE_SUFFIX for name in secrets)}
    ours = [name for name, value in variables.items() if name.startswith(PREFIX) and not _is_for_others(name, value)]
    for name in [*options, *sorted(ours)]:
        if name not in names:
            nearest = _nearest(name, names)
            question = f"; did you mean {nearest}?" if nearest else ""
            raise SettingsError(
                f"{name} is no setting of pgcast{question}", hint="`pgcast serve --help` lists the settings"
            )


def _is_for_others(name: str, value: str) -> bool:
    if _NO_SETTINGS.fullmatch(name):
        return True
    return _SERVICE_PORT.fullmatch(name) is not None and _SERVICE_URL.match(value) is not None


def _nearest(name: str, names: Collection[str]) -> str:
    """Return the known name that was most likely meant; empty when none is near."""
    name = name.upper()  # Python programs like small letters
    bare = name.removeprefix(PREFIX)
    for same in (bare, PREFIX + bare):
        if same in names:
            return same
    near = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.7)
    near += difflib.get_close_matches(bare, sorted(names), n=1, cutoff=0.7)
    return near[0] if near else ""


def _read_secret(variable: str, path: str) -> str:
    """Read a secret's file: its text without the line end that editors and `echo` add."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError(
            f"{variable}: cannot read {path}: {error.strerror}", hint=f"{variable} is the path of a file with a secret"
        ) from None
    if len(content) > MAX_FILE_BYTES:
        raise SettingsError(f"{variable}: {path} is larger than {MAX_FILE_BYTES} bytes, which is no secret")
    try:
        text = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}: {path} is not UTF-8 text") from None
    if not text.strip():
        raise SettingsError(f"{variable}: {path} is empty", hint=f"write the secret into it, or unset {variable}")
    return text
