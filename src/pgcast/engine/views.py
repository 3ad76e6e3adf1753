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
        change, kind = self._change, self._change.kind
        if access.refuses(kind):
            yield kind if group.is_legacy else ids, self._refusal(access.error)
            return
        if group.is_legacy:
            data = self._legacy.get(access.columns)
            if data is None:
                data = self._payloads.legacy(change, as_text=self._as_text, visible=access.columns)
                self._legacy[access.columns] = data
            if group.is_too_large(kind, data):
                data = self._payloads.short_legacy(change, as_text=self._as_text, visible=access.columns)
            yield kind, data
            return
        if group.selects is None:
            yield ids, self._payload(group, ids, ((), access.columns, is_left))
            return
        by_select: dict[tuple[str, ...], list[int]] = {}
        for one in ids:
            by_select.setdefault(group.selects.get(one, ()), []).append(one)
        for select, some in by_select.items():
            yield tuple(some), self._payload(group, tuple(some), (select, access.columns, is_left))

    def _payload(self, group: Group, ids: tuple[int, ...], view: View) -> bytes:
        select, visible, is_left = view
        made = self._made.get(view)
        if made is None:
            if select or visible is not None:
                made = self._payloads.view(self._change, select, visible)
            else:
                made = self._payloads.current(self._change)
            made = self._made[view] = _marked(made, is_left=is_left)
        if group.is_too_large(ids, made):
            return _marked(self._payloads.short(self._change, select, visible), is_left=is_left)
        return made

    def _refusal(self, error: str) -> bytes:
        made = self._refused.get(error)
        if made is None:
            made = self._refused[error] = self._payloads.refused(self._change, error)
        return made


def _marked(payload: bytes, *, is_left: bool) -> bytes:
    return payload[:-1] + b',"left":true}' if is_left else payload
