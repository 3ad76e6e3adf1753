"""What a command prints when something is wrong: one line, the fix, and an exit code; never a traceback."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from pgcast.model.errors import PgcastError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

_USAGE = 2
_FAILED = 1


@contextlib.contextmanager
def report_errors(*, failed: int = _FAILED) -> Iterator[None]:
    """Turn the errors that pgcast raises on purpose into a message and an exit.

    Args:
        failed: The exit code for all but a setting.

    Raises:
        SystemExit: 2 for a setting, `failed` for all else.
    """
    try:
        yield
    except PgcastError as error:
        print(f"pgcast: {error.message}", file=sys.stderr)  # noqa: T201 - what a command says
        if error.hint:
            print(f"  fix: {error.hint}", file=sys.stderr)  # noqa: T201 - as above
        raise SystemExit(_USAGE if isinstance(error, SettingsError) else failed) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
