"""Text from elsewhere, such that nothing in it can reach a terminal as a control character."""

from __future__ import annotations

import re
from typing import Final

# What a terminal might obey: C0, delete, C1, and the marks that turn the direction of writing.
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str, *, longest: int | None = None) -> str:
    r"""Return a text with `\u....` for control characters.

    Args:
        text: The text.
        longest: What comes after so many characters is cut off, and an ellipsis put in its place.
    """
    shown = _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return shown if longest is None or len(shown) <= longest else f"{shown[:longest]}…"
