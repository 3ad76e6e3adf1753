from __future__ import annotations

import pytest

from pgcast.changes.oids import builtin_shape
from pgcast.model.relation import TypeKind, TypeShape


@pytest.mark.parametrize(
    ("oid", "name"), [(16, "bool"), (23, "int4"), (1043, "varchar"), (1184, "timestamptz"), (4451, "int4multirange")]
)
def test_a_scalar_has_the_catalogs_short_name(oid, name):
    assert builtin_shape(oid) == TypeShape(oid, name)


def test_an_array_has_its_element_type():
    assert builtin_shape(1009) == TypeShape(1009, "_text", TypeKind.ARRAY, element=TypeShape(25, "text"))


def test_boxes_are_delimited_by_semicolons():
    shape = builtin_shape(1020)

    assert (shape.name, shape.delimiter) == ("_box", ";")


def test_vectors_are_arrays():
    assert builtin_shape(22) == TypeShape(22, "int2vector", TypeKind.ARRAY, element=TypeShape(21, "int2"))


@pytest.mark.parametrize("oid", [0, 16384, 71, 210, 2249])
def test_other_types_are_not_known(oid):
    assert builtin_shape(oid) is None
