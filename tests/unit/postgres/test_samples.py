from dataclasses import replace

import pytest
from making import table

from pgcast.model.change import ABSENT, Kind
from pgcast.model.relation import ReplicaIdentity, Table
from pgcast.postgres.samples import make_change, published_as

TODOS = table()


def full(of: Table) -> Table:
    columns = tuple(replace(column, is_key=True) for column in of.relation.columns)
    return replace(of, relation=replace(of.relation, identity=ReplicaIdentity.FULL, columns=columns))


def test_an_insert_has_what_was_given():
    made = make_change(TODOS, Kind.INSERT, {"id": b"1", "title": None}, None)
    assert (made.kind, made.values, made.old_values) == (Kind.INSERT, (b"1", None), None)
    assert make_change(TODOS, Kind.INSERT, {"title": b"milk"}, None).values == (ABSENT, b"milk")


def test_an_update_carries_of_the_old_row_what_the_identity_has():
    new = {"id": b"1", "title": b"tea"}
    made = make_change(TODOS, Kind.UPDATE, new, None)
    assert (made.values, made.old_values) == ((b"1", b"tea"), (b"1", ABSENT))
    made = make_change(TODOS, Kind.UPDATE, new, {"id": b"2", "title": b"milk"})
    assert made.old_values == (b"2", ABSENT)
    made = make_change(full(TODOS), Kind.UPDATE, new, {"id": b"2", "title": b"milk"})
    assert made.old_values == (b"2", b"milk")
    assert make_change(full(TODOS), Kind.UPDATE, new, {"id": b"2"}).old_values == (b"2", ABSENT)


def test_a_delete_is_its_old_row():
    made = make_change(TODOS, Kind.DELETE, {}, {"id": b"1", "title": b"milk"})
    assert (made.kind, made.values, made.old_values) == (Kind.DELETE, None, (b"1", ABSENT))
    assert make_change(full(TODOS), Kind.DELETE, {}, {"id": b"1", "title": None}).old_values == (b"1", None)
    secured = replace(full(TODOS), has_row_security=True)
    assert make_change(secured, Kind.DELETE, {}, {"id": b"1", "title": None}).old_values == (b"1", ABSENT)


@pytest.mark.parametrize(
    ("kind", "new", "old", "published"),
    [
        (Kind.INSERT, True, False, Kind.INSERT),
        (Kind.INSERT, False, True, None),
        (Kind.DELETE, True, False, None),
        (Kind.DELETE, False, True, Kind.DELETE),
        (Kind.UPDATE, True, True, Kind.UPDATE),
        (Kind.UPDATE, True, False, Kind.INSERT),
        (Kind.UPDATE, False, True, Kind.DELETE),
        (Kind.UPDATE, False, False, None),
    ],
)
def test_a_row_filter_may_turn_a_change_into_another(kind: Kind, new: bool, old: bool, published: Kind | None):  # noqa: FBT001
    assert published_as(kind, new_passes=new, old_passes=old) is published
