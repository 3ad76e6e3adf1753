"""What `listen` is given: checked by type, and named in errors as its caller knows it.

Below, settings have the names that they have in the environment; a program that calls `listen` has set none of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from pgcast.model.errors import SettingsError

if TYPE_CHECKING:
    from pgcast.model.errors import PgcastError

_SHOWN: Final = 40

# DB_HOST and DB_PORT, or DATABASE_URL
_IN_THE_DSN: Final = re.compile(r"(?:DB_[A-Z]+,? (?:and |or ){1,2})*DATABASE_URL")
_RENAMED: Final = {
    "the database URL": "dsn",
    "DB_SSL=true (sslmode=prefer)": "sslmode=prefer in the dsn",
    "false (disable) never": "disable never",
    "SLOT_NAME": "slot",
    "PUBLICATIONS": "publications",
}


def check_acknowledgement(ack: object, max_unacknowledged: object) -> None:
    """Check two of the arguments of `listen`.

    Raises:
        SettingsError: One of them cannot be served.
    """
    if ack not in ("auto", "manual"):
        raise SettingsError(f"ack: expected 'auto' or 'manual' (found {_shown(ack)})")
    if not isinstance(max_unacknowledged, int) or max_unacknowledged < 1:
        raise SettingsError(f"max_unacknowledged: expected a number, at least 1 (found {_shown(max_unacknowledged)})")


def check_text(name: str, value: object) -> None:
    """Check an argument that is text.

    Raises:
        SettingsError: It is something else.
    """
    if not isinstance(value, str):
        raise SettingsError(f"{name}: expected text (found {_shown(value)})")


def texts_of(name: str, value: object) -> tuple[str, ...]:
    """Return an argument that is text, or several of them, as several.

    Raises:
        SettingsError: It is something else.
    """
    if isinstance(value, str):
        return (value,)
    try:
        texts: tuple[Any, ...] = tuple(value)  # type: ignore[arg-type]
    except TypeError:
        texts = (value,)
    for text in texts:
        if not isinstance(text, str):
            raise SettingsError(f"{name}: expected text, or a list of it (found {_shown(text)})")
    return texts


def name_as_called(error: PgcastError) -> None:
    """Have an error say `slot` where it says SLOT_NAME, and so on."""
    error.message, error.hint = _renamed(error.message), _renamed(error.hint)
    error.args = (error.message,)
    error.__notes__ = [_renamed(note) for note in getattr(error, "__notes__", ())]


def _renamed(text: str) -> str:
    text = _IN_THE_DSN.sub("the dsn", text)
    for name, argument in _RENAMED.items():
        text = text.replace(name, argument)
    return text


def _shown(value: object) -> str:
    """Return what was found, for people; of what is no simple value, which may hold a secret, the type."""
    return repr(value)[:_SHOWN] if value is None or isinstance(value, str | int | float) else type(value).__name__
