"""What CONFIGURATION_FILE says, checked in its form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgcast.model.served import ServedTopics

if TYPE_CHECKING:
    from pgcast.model.webhook import Webhook


@dataclass(frozen=True, slots=True)
class Configuration:
    """The file's content.

    Attributes:
        webhooks: The webhooks, in the file's order.
        served: Which topics of the oldest protocol are served.
    """

    webhooks: tuple[Webhook, ...] = ()
    served: ServedTopics = field(default_factory=ServedTopics)
