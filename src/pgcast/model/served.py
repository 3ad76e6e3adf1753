"""Which topics of the oldest protocol are served at all, as CONFIGURATION_FILE says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pgcast.model.change import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

_ALL: Final = frozenset(Kind)


@dataclass(frozen=True, slots=True)
class ServedTopic:
    """One item of the list `realtime`.

    Attributes:
        relation: `schema`, `schema:table` or `schema:table:column`, taken apart: None for `*`. How many parts there are
            says which topics it is about: those of schemas, of tables, or of a column's values.
        kinds: Which kinds of change are served on these topics.
    """

    relation: tuple[str | None, ...]
    kinds: frozenset[Kind]

    def is_about(self, topic: Sequence[str | None]) -> bool:
        """Say whether it is about a topic of these parts."""
        return len(topic) == len(self.relation) and all(
            mine in {None, other} for mine, other in zip(self.relation, topic, strict=True)
        )


@dataclass(frozen=True, slots=True)
class ServedTopics:
    """All items; without a list, everything is served.

    Attributes:
        items: The items; None where there is no list.
    """

    items: tuple[ServedTopic, ...] | None = None

    def kinds(self, schema: str | None, table: str | None = None, column: str | None = None) -> frozenset[Kind]:
        """Return which kinds of change are served on a topic.

        Args:
            schema: The topic's schema; None for the topic of everything, `*`.
            table: Its table, if it has one.
            column: The column of its condition, if it has one.
        """
        if self.items is None:
            return _ALL
        topic = [schema, *(part for part in (table, column) if part is not None)]
        return frozenset(kind for item in self.items if item.is_about(topic) for kind in item.kinds)
