"""Whatever stands in an array or a composite comes out as it went in, and nothing but our own error is raised."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgcast.changes.oids import builtin_shape
from pgcast.changes.values import renderer
from pgcast.model.errors import ReplicationWireError
from pgcast.model.relation import TypeKind, TypeShape

# A busy machine is no failure.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TEXT = builtin_shape(25)
TEXTS = builtin_shape(1009)
ROW = TypeShape(1, "row", TypeKind.COMPOSITE, fields=(("t", TEXT), ("list", TEXTS), ("n", builtin_shape(23))))
ROWS = TypeShape(2, "_row", TypeKind.ARRAY, element=ROW)

# No zero character: Postgres has none. Odds are on those that mean something to a parser.
texts = st.text(
    st.one_of(st.sampled_from('\\"{}(),; NUL\n\t[]=:'), st.characters(exclude_characters="\0", codec="utf-8"))
)


def array_out(value: list[Any] | str | None, write: Any = lambda element: element) -> str:
    """Write an array as Postgres does."""
    if isinstance(value, list):
        return "{" + ",".join(array_out(element, write) for element in value) + "}"
    if value is None:
        return "NULL"
    text = write(value)
    if not text or text.upper() == "NULL" or re.search(r'[\s{}",\\]', text):
        return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
    return text


def record_out(value: tuple[str | None, list[Any] | None, int | None]) -> str:
    """Write a composite as Postgres does."""
    text, array, number = value
    fields = [text, None if array is None else array_out(array), None if number is None else str(number)]
    return "(" + ",".join("" if field is None else quote_field(field) for field in fields) + ")"


def quote_field(field: str) -> str:
    if not field or re.search(r'[\s(),"\\]', field):
        return '"' + re.sub(r'(["\\])', r"\1\1", field) + '"'
    return field


elements = st.one_of(st.none(), texts)
arrays = st.one_of(
    st.lists(elements, max_size=5),
    st.integers(1, 3).flatmap(
        lambda width: st.lists(st.lists(elements, min_size=width, max_size=width), min_size=1, max_size=3)
    ),
)
rows = st.tuples(st.one_of(st.none(), texts), st.one_of(st.none(), arrays), st.one_of(st.none(), st.integers()))


def render(shape: TypeShape, text: str) -> Any:
    return json.loads(renderer(shape)(text.encode()))


@unhurried
@given(texts)
def test_text_comes_back(text):
    assert render(TEXT, text) == text


@unhurried
@given(arrays)
def test_an_array_comes_back(array):
    assert render(TEXTS, array_out(array)) == array


@unhurried
@given(rows)
def test_a_composite_comes_back(row):
    assert render(ROW, record_out(row)) == dict(zip(("t", "list", "n"), row, strict=True))


@unhurried
@given(st.lists(st.one_of(st.none(), st.tuples(texts, arrays, st.integers())), max_size=4))
def test_an_array_of_composites_comes_back(array):
    expected = [element and dict(zip(("t", "list", "n"), element, strict=True)) for element in array]

    assert render(ROWS, array_out([element and record_out(element) for element in array])) == expected


@pytest.mark.parametrize("shape", [TEXT, TEXTS, ROW, ROWS, builtin_shape(1020)], ids=lambda shape: shape.name)
@unhurried
@given(st.one_of(st.binary(), st.text('\\"{}(),;[]=a').map(str.encode)))
def test_any_bytes_become_json_or_are_refused(shape, text):
    try:
        document = renderer(shape)(text)
    except ReplicationWireError:
        return
    json.loads(document)


@pytest.mark.parametrize("oid", [16, 17, 20, 22, 30, 114, 701, 1007, 1082, 1114, 1184, 1185, 1700, 3802])
@unhurried
@given(text=st.binary())
def test_other_types_raise_nothing_that_the_decoder_does_not_expect(oid, text):
    with suppress(ReplicationWireError, LookupError):
        renderer(builtin_shape(oid))(text)
