"""Who is asking, as the verified token says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a verified token.

    Attributes:
        role: The claim `role`: the database role the client acts as.
        expires_at: The claim `exp`, seconds since 1970-01-01 UTC.
        values: All claims, as the token had them.
    """

    role: str
    expires_at: float
    values: dict[str, Any] = field(default_factory=dict, repr=False)
