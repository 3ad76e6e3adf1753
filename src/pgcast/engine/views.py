"""The payloads of one change, each made once, however many groups want it.

A view is what some bindings may see: all columns, or those that they select. Different views of one channel are
different messages, each with the ids of the bindings that share it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgcast.changes.payload import Payloads
    from pgcast.engine.groups import Group
    from pgcast.model.change import Change, Kind


class Views:
    """One change, rendered as it is asked for.

    Args:
        payloads: What turns a change into the JSON of its message.
        change: The change.
        as_text: Whether the oldest protocol's values go out as text.
    """

    __slots__ = ("_as_text", "_change", "_legacy", "_made", "_payloads")

    def __init__(self, payloads: Payloads, change: Change, *, as_text: bool) -> None:
        self._payloads = payloads
        self._change = change
        self._as_text = as_text
        self._legacy: bytes | None = None
        self._made: dict[tuple[tuple[str, ...], bool], bytes] = {}

    def messages(
        self, group: Group, ids: tuple[int, ...], *, is_left: bool = False
    ) -> Iterator[tuple[tuple[int, ...] | Kind, bytes]]:
        """Go through the messages that a group gets: the key of the frame, and the payload.

        Args:
            group: Who gets them.
            ids: Of its bindings that want the change.
            is_left: Whether they are told that the row has left their filter.
        """
        if group.is_legacy:
            if self._legacy is None:
                self._legacy = self._payloads.legacy(self._change, as_text=self._as_text)
            data = self._legacy
            if group.is_too_large(self._change.kind, data):
                data = self._payloads.short_legacy(self._change, as_text=self._as_text)
            yield self._change.kind, data
            return
        if group.selects is None:
            yield ids, self._payload(group, ids, (), is_left=is_left)
            return
        by_select: dict[tuple[str, ...], list[int]] = {}
        for one in ids:
            by_select.setdefault(group.selects.get(one, ()), []).append(one)
        for select, some in by_select.items():
            yield tuple(some), self._payload(group, tuple(some), select, is_left=is_left)

    def _payload(self, group: Group, ids: tuple[int, ...], select: tuple[str, ...], *, is_left: bool) -> bytes:
        made = self._made.get((select, is_left))
        if made is None:
            made = self._payloads.view(self._change, select) if select else self._payloads.current(self._change)
            made = self._made[select, is_left] = _marked(made, is_left=is_left)
        if group.is_too_large(ids, made):
            return _marked(self._payloads.short(self._change, select), is_left=is_left)
        return made


def _marked(payload: bytes, *, is_left: bool) -> bytes:
    return payload[:-1] + b',"left":true}' if is_left else payload
