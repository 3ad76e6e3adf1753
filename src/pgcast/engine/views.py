"""The payloads of one change, each made once, however many groups want it.

A view is what some bindings may see: all columns, or those that they select. Different views of one channel are
different messages, each with the ids of the bindings that share it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgcast.engine.sights import Access

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgcast.changes.payload import Payloads
    from pgcast.engine.groups import Group
    from pgcast.model.change import Change, Kind

    # Columns selected, those visible (None for all), whether the row left the filter.
    View = tuple[tuple[str, ...], frozenset[str] | None, bool]

_WHOLE = Access()


class Views:
    """One change, rendered as it is asked for.

    Args:
        payloads: What turns a change into the JSON of its message.
        change: The change.
        as_text: Whether the oldest protocol's values go out as text.
    """

    __slots__ = ("_as_text", "_change", "_legacy", "_made", "_payloads", "_refused")

    def __init__(self, payloads: Payloads, change: Change, *, as_text: bool) -> None:
        self._payloads = payloads
        self._change = change
        self._as_text = as_text
        self._legacy: dict[frozenset[str] | None, bytes] = {}
        self._made: dict[View, bytes] = {}
        self._refused: dict[str, bytes] = {}

    def messages(
        self, group: Group, ids: tuple[int, ...], access: Access = _WHOLE, *, is_left: bool = False
    ) -> Iterator[tuple[tuple[int, ...] | Kind, bytes]]:
        """Go through the messages that a group gets: the key of the frame, and the payload.

        Args:
            group: Who gets them.
            ids: Of its bindings that want the change.
            access: What the group's role gets of the table.
            is_left: Whether they are told that the row has left their filter.
        """
        kind = self._change.kind
        if access.refuses(kind):
            yield kind if group.is_legacy else ids, self._refusal(access.error)
            return
        if group.is_legacy:
            made = self._legacy.get(access.columns)
            if made is None:
                made = self._payloads.legacy(self._change, as_text=self._as_text, visible=access.columns)
                self._legacy[access.columns] = made
            yield kind, made
            return
        if group.selects is None:
            yield ids, self._payload((), access.columns, is_left=is_left)
            return
        by_select: dict[tuple[str, ...], list[int]] = {}
        for one in ids:
            by_select.setdefault(group.selects.get(one, ()), []).append(one)
        for select, some in by_select.items():
            yield tuple(some), self._payload(select, access.columns, is_left=is_left)

    def _payload(self, select: tuple[str, ...], visible: frozenset[str] | None, *, is_left: bool) -> bytes:
        made = self._made.get((select, visible, is_left))
        if made is None:
            if select or visible is not None:
                made = self._payloads.view(self._change, select, visible)
            else:
                made = self._payloads.current(self._change)
            if is_left:
                made = made[:-1] + b',"left":true}'
            self._made[select, visible, is_left] = made
        return made

    def _refusal(self, error: str) -> bytes:
        made = self._refused.get(error)
        if made is None:
            made = self._refused[error] = self._payloads.refused(self._change, error)
        return made
