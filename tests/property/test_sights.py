"""What a role may not see is in no frame, and those who read the window get what those who are level get."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from making import TEXT, table, transaction
from memory_outlet import MemoryOutlet

from pgcast.changes.payload import Payloads
from pgcast.engine.groups import Reading, Signature
from pgcast.engine.hub import Hub, HubLimits
from pgcast.frames.codec import serializer_for
from pgcast.matching.conditions import Condition
from pgcast.matching.index import ROW_KINDS, Entry
from pgcast.model.change import Change, Kind
from pgcast.model.lsn import Lsn
from pgcast.model.sight import Sight

NAMES = ("id", "name", "secret", "more")
V1 = serializer_for("1.0.0")

anything = st.builds(Sight, st.none() | st.frozensets(st.sampled_from(NAMES)), is_secured=st.booleans())
some = st.frozensets(st.sampled_from(NAMES[1:])).map(lambda names: Sight(names | {"id"}))
sights = some | anything
columns = st.sampled_from(NAMES)
conditions = st.tuples(columns, st.sampled_from(["old", "new"])).map(
    lambda pair: Condition(
        pair[0], "eq", (f"{pair[0]}-{pair[1]}",), canonical=((25, (f"{pair[0]}-{pair[1]}".encode(),)),)
    )
)
entries = st.builds(
    Entry,
    id=st.integers(1, 3),
    kinds=st.sampled_from([ROW_KINDS, frozenset({Kind.UPDATE}), frozenset({Kind.DELETE})]),
    schema=st.sampled_from([None, "public"]),
    table=st.sampled_from([None, "todos"]),
    conditions=st.lists(conditions, max_size=2).map(tuple),
    select=st.lists(columns, max_size=2, unique=True).map(tuple),
    leave=st.booleans(),
)


def row(state: str, other: frozenset[str]) -> tuple[bytes, ...]:
    """A row whose values name their columns; those of some columns are others."""
    return tuple(f"{name}-{'other' if name in other else state}".encode() for name in NAMES)


def json_of(values: tuple[bytes, ...] | None) -> bytes | None:
    return None if values is None else json.dumps({n: v.decode() for n, v in zip(NAMES, values, strict=True)}).encode()


def made(kind: Kind, *, has_key: bool, other: frozenset[str] = frozenset()) -> Change:
    todos = table("todos", **dict.fromkeys(NAMES, TEXT))
    old = row("old", other) if kind in {Kind.UPDATE, Kind.DELETE} else None
    new = row("new", other) if kind in {Kind.INSERT, Kind.UPDATE} else None
    change = Change(todos if has_key else replace(todos, primary_key=()), kind, json_of(new), json_of(old), new, old)
    change.transaction, change.index = transaction(100), 0
    return change


async def told(change: Change, sight: Sight, wanted: list[Entry], *, is_level: bool, is_legacy: bool) -> list[object]:
    hub = Hub(Payloads(), HubLimits(flush_gap_s=0))
    hub.sights.roles["anon"] = None
    hub.sights.take(1, [1], ["anon"], {"anon": {1: sight}})
    outlet = MemoryOutlet()
    signature = Signature("1.0.0", "realtime:t", tuple(wanted), is_legacy=is_legacy, role="anon")
    if is_level:
        hub.join(outlet, signature, V1, Reading(0))
        await asyncio.sleep(0)
    hub.publish(change, 50, now_s=0)
    hub.commit(Lsn(105))
    if not is_level:
        hub.join(outlet, signature, V1, Reading(0))
    hub.batch_done(now_s=0)
    for _ in range(3):
        await asyncio.sleep(0)
    return list(outlet.messages)


@settings(max_examples=500)
@given(
    kind=st.sampled_from([Kind.INSERT, Kind.UPDATE, Kind.DELETE]),
    sight=sights,
    wanted=st.lists(entries, min_size=1, max_size=3, unique_by=lambda entry: entry.id),
    is_legacy=st.booleans(),
    has_key=st.booleans(),
)
def test_a_role_is_told_what_it_may_see_and_no_more(
    kind: Kind, sight: Sight, wanted: list[Entry], *, is_legacy: bool, has_key: bool
):
    change = made(kind, has_key=has_key)
    ways = [asyncio.run(told(change, sight, wanted, is_level=level, is_legacy=is_legacy)) for level in (True, False)]

    assert sorted(map(json.dumps, ways[0])) == sorted(map(json.dumps, ways[1]))
    text = json.dumps(ways[0])
    hidden = set() if sight.columns is None else set(NAMES) - sight.columns
    assert not any(f"{name}-" in text for name in hidden)
    # Nothing about hidden values can be found out either, whatever the filters ask.
    changed = made(kind, has_key=has_key, other=frozenset(hidden))
    assert asyncio.run(told(changed, sight, wanted, is_level=True, is_legacy=is_legacy)) == ways[0]
    assert not (sight.is_secured and ways[0])
    if not has_key and kind is not Kind.DELETE:
        assert not any(f"{name}-" in text for name in NAMES)
