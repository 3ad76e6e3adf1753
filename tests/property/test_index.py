"""The index finds exactly what a look at every entry finds, whatever comes and goes."""

from hypothesis import given
from hypothesis import strategies as st
from making import INT8, NUMERIC, TEXT, change, table, transaction

from pgcast.matching.index import Condition, Entry, Index
from pgcast.model.change import ABSENT, Change, Kind

TABLES = [
    table("a", id=INT8, name=TEXT),
    table("b", id=INT8, price=NUMERIC),
    table("a", in_schema="other", with_oid=3, id=TEXT, name=TEXT),
]
TEXTS = ["1", "2", "1.0", "x", ""]

conditions = st.builds(Condition, st.sampled_from(["id", "name", "price", "none"]), st.sampled_from(TEXTS))
entries = st.builds(
    Entry,
    st.integers(1, 4),
    st.frozensets(st.sampled_from(list(Kind)), min_size=1),
    st.sampled_from([None, "public", "other"]),
    st.sampled_from([None, "a", "b"]),
    st.lists(conditions, max_size=2).map(tuple),
)
targets = st.lists(st.lists(entries, min_size=1, max_size=4), max_size=6)
values = st.sampled_from([*(text.encode() for text in TEXTS), None, ABSENT])


@st.composite
def changes(draw: st.DrawFn) -> Change:
    on = draw(st.sampled_from(TABLES))
    row = draw(st.tuples(values, values))
    return change(transaction(100), on=on, kind=draw(st.sampled_from(list(Kind))), values=row)


class Target:
    def __init__(self, wanted: list[Entry]) -> None:
        self.entries = wanted


@given(targets, st.data())
def test_the_index_equals_a_full_scan(wanted: list[list[Entry]], data: st.DataObject):
    index: Index[Target] = Index()
    present: list[Target] = []
    for one in wanted:
        target = Target(one)
        index.add(target, target.entries)
        present.append(target)
        check(index, present, data.draw(changes()))
    while present:
        target = present.pop(data.draw(st.integers(0, len(present) - 1)))
        index.remove(target, target.entries)
        check(index, present, data.draw(changes()))


def check(index: Index[Target], present: list[Target], one: Change) -> None:
    scanned = {}
    for target in present:
        ids = tuple(dict.fromkeys(entry.id for entry in target.entries if entry.wants(one)))
        if ids:
            scanned[target] = ids
    assert dict(index.match(one)) == scanned
    assert len(index.match(one)) == len(scanned)
