from __future__ import annotations

import pytest

from pgcast.changes.oids import builtin_shape
from pgcast.changes.values import render_text, renderer, text_renderer, verbatim
from pgcast.model.errors import ReplicationWireError
from pgcast.model.relation import TypeKind, TypeShape

BOOL, BYTEA, INT8, INT2VECTOR, INT4, TEXT, OIDVECTOR, JSON, FLOAT8 = 16, 17, 20, 22, 23, 25, 30, 114, 701
INTS, TEXTS, BOXES, BYTEAS, DATE, TIMESTAMP, TIMESTAMPTZ, NUMERIC = 1007, 1009, 1020, 1001, 1082, 1114, 1184, 1700

PAIR = TypeShape(
    16400, "pair", TypeKind.COMPOSITE, fields=(("a", builtin_shape(INT4)), ('say "b"', builtin_shape(TEXT)))
)
PAIRS = TypeShape(16401, "_pair", TypeKind.ARRAY, element=PAIR)


def render(oid: int, text: bytes) -> bytes:
    return renderer(builtin_shape(oid))(text)


@pytest.mark.parametrize(
    ("oid", "text", "document"),
    [
        (BOOL, b"t", b"true"),
        (BOOL, b"f", b"false"),
        (INT8, b"9007199254740993", b"9007199254740993"),
        (NUMERIC, b"-1.50", b"-1.50"),
        (NUMERIC, b"NaN", b"null"),
        (FLOAT8, b"1e+20", b"1e+20"),
        (FLOAT8, b"Infinity", b"null"),
        (FLOAT8, b"-Infinity", b"null"),
        (BYTEA, b"\\xdeadbeef", b'"deadbeef"'),
        (BYTEA, b"\\x", b'""'),
        (DATE, b"2026-01-02", b'"2026-01-02"'),
        (TIMESTAMP, b"2026-01-02 03:04:05.678", b'"2026-01-02T03:04:05.678"'),
        (TIMESTAMP, b"0044-03-15 12:00:00 BC", b'"0044-03-15T12:00:00 BC"'),
        (TIMESTAMP, b"infinity", b'"infinity"'),
        (TIMESTAMPTZ, b"2026-01-02 03:04:05.678+00", b'"2026-01-02T03:04:05.678+00:00"'),
        (TIMESTAMPTZ, b"0044-03-15 12:00:00+00 BC", b'"0044-03-15T12:00:00+00:00 BC"'),
        (TIMESTAMPTZ, b"-infinity", b'"-infinity"'),
        (JSON, b'{"a":\n 1.50}', b'{"a":\n 1.50}'),
        (JSON, '"größe"'.encode(), '"größe"'.encode()),
        (JSON, b'"\\ud800"', b'"\\ud800"'),
        (JSON, b'"\xff"', '"\ufffd"'.encode()),
        (INT2VECTOR, b"1 -2 3", b"[1,-2,3]"),
        (INT2VECTOR, b"", b"[]"),
        (OIDVECTOR, b"1 2", b'["1","2"]'),
        (OIDVECTOR, b"", b"[]"),
    ],
)
def test_a_value_becomes_the_json_of_its_type(oid, text, document):
    assert render(oid, text) == document


@pytest.mark.parametrize(
    ("text", "document"),
    [
        (b"", b'""'),
        (b"plain", b'"plain"'),
        (b'say "hi"', b'"say \\"hi\\""'),
        (b"back\\slash", b'"back\\\\slash"'),
        (b"tab\tline\n\x01\x7f", b'"tab\\tline\\n\\u0001\x7f"'),
        ("größe 🦊\u2028".encode(), '"größe 🦊\u2028"'.encode()),
        (b"gr\xf6\xdfe \xff", '"gr\ufffd\ufffde \ufffd"'.encode()),
    ],
)
def test_text_is_escaped_as_far_as_json_demands(text, document):
    assert render(TEXT, text) == document


@pytest.mark.parametrize(
    ("oid", "text", "document"),
    [
        (INTS, b"{}", b"[]"),
        (INTS, b"{1,NULL,-3}", b"[1,null,-3]"),
        (INTS, b"{{1,2},{NULL,4}}", b"[[1,2],[null,4]]"),
        (INTS, b"[2:3]={1,2}", b"[1,2]"),
        (INTS, b"[-1:0][5:5]={{1},{2}}", b"[[1],[2]]"),
        (TEXTS, b'{a,"b c",NULL,"NULL",""}', b'["a","b c",null,"NULL",""]'),
        (TEXTS, b'{"say \\"hi\\"","back\\\\slash","{","a,b"}', b'["say \\"hi\\"","back\\\\slash","{","a,b"]'),
        (TEXTS, b'{"new\nline","\\\n"}', b'["new\\nline","\\n"]'),
        (TEXTS, b'[0:0]={"[1:2]={}"}', b'["[1:2]={}"]'),
        (BOXES, b"{(3,4),(1,2);NULL}", b'["(3,4),(1,2)",null]'),
        (BOXES, b"{{(3,4),(1,2)};{(7,8),(5,6)}}", b'[["(3,4),(1,2)"],["(7,8),(5,6)"]]'),
        (BYTEAS, b'{"\\\\x0001",NULL}', b'["0001",null]'),
        (199, b'{"{\\"a\\": [1]}",NULL,"null"}', b'[{"a": [1]},null,null]'),
        (1006, b'{"1 2","3"}', b"[[1,2],[3]]"),
    ],
)
def test_an_array_becomes_nested_arrays(oid, text, document):
    assert render(oid, text) == document


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"x",
        b"{",
        b"{1",
        b"1}",
        b"{1}}",
        b"{1}{2}",
        b"{{1}",
        b"{{1},}",
        b"{{1}{2}}",
        b"{{1}2}",
        b"{,{1}}",
        b'{"a"b}',
        b'{"a',
        b'{"a""b"}',
        b'{"\\"}',
        b'{"a"},',
        b"[1:2]",
    ],
)
def test_a_malformed_array_is_refused(text):
    with pytest.raises(ReplicationWireError, match=r"an array of \d+ bytes is malformed"):
        render(TEXTS, text)


@pytest.mark.parametrize("delimiter", ["]", "^", "-", "\\"])
def test_an_array_may_have_any_delimiter(delimiter):
    shape = TypeShape(16402, "_odd", TypeKind.ARRAY, element=TypeShape(16403, "odd"), delimiter=delimiter)

    assert renderer(shape)(f'{{a{delimiter}"b c"}}'.encode()) == b'["a","b c"]'


@pytest.mark.parametrize(
    ("text", "document"),
    [
        (b"(,)", b'{"a":null,"say \\"b\\"":null}'),
        (b'(1,"b c")', b'{"a":1,"say \\"b\\"":"b c"}'),
        (b'(1,"")', b'{"a":1,"say \\"b\\"":""}'),
        (b'(1,"say ""hi"" \\\\")', b'{"a":1,"say \\"b\\"":"say \\"hi\\" \\\\"}'),
        (b'(1,"(,)")', b'{"a":1,"say \\"b\\"":"(,)"}'),
    ],
)
def test_a_composite_becomes_an_object(text, document):
    assert renderer(PAIR)(text) == document


def test_composites_nest_in_arrays():
    assert renderer(PAIRS)(b'{"(1,\\"b c\\")",NULL}') == b'[{"a":1,"say \\"b\\"":"b c"},null]'


@pytest.mark.parametrize("text", [b"(1,b,c)", b"(1)", b"(one,b)", b"", b'(1,"b)', b"(1,b"])
def test_a_composite_that_does_not_fit_its_type_becomes_a_string(text):
    assert renderer(PAIR)(text) == render_text(text)


@pytest.mark.parametrize(
    ("oid", "text"), [(BOOL, b"(x)"), (INTS, b"({)"), (JSON, b"(" + b"[" * 100_000 + b"]" * 100_000 + b")")]
)
def test_a_field_that_does_not_fit_its_type_makes_the_composite_a_string(oid, text):
    shape = TypeShape(16404, "one", TypeKind.COMPOSITE, fields=(("only", builtin_shape(oid)),))

    assert renderer(shape)(text) == render_text(text)


def test_a_large_number_in_a_composite_stays_a_number():
    shape = TypeShape(16404, "one", TypeKind.COMPOSITE, fields=(("only", builtin_shape(NUMERIC)),))

    assert renderer(shape)(b"(1" + b"0" * 400 + b")") == b'{"only":1' + b"0" * 400 + b"}"


def test_a_domain_renders_as_its_base_type():
    positive = TypeShape(16405, "positive", TypeKind.DOMAIN, element=builtin_shape(INT4))
    nested = TypeShape(16406, "nested", TypeKind.DOMAIN, element=positive)

    assert renderer(nested) is verbatim


def test_a_type_that_is_not_built_in_is_a_string():
    assert renderer(TypeShape(16407, "mood"))(b'say "hi"') == b'"say \\"hi\\""'


@pytest.mark.parametrize("kind", [TypeKind.ARRAY, TypeKind.DOMAIN])
def test_a_type_without_its_element_is_a_string(kind):
    assert renderer(TypeShape(16408, "lost", kind))(b"{1}") == b'"{1}"'
    assert text_renderer(TypeShape(16408, "lost", kind))(b"{1}") == b'"{1}"'


@pytest.mark.parametrize(
    ("oid", "text", "document"),
    [
        (BOOL, b"t", b'"t"'),
        (INT8, b"9007199254740993", b'"9007199254740993"'),
        (INTS, b"{1,NULL,3}", b'"{1,NULL,3}"'),
        (BYTEA, b"\\xdeadbeef", b'"\\\\xdeadbeef"'),
        (JSON, b'{"a": 1}', b'"{\\"a\\": 1}"'),
        (TIMESTAMP, b"2026-01-02 03:04:05.678", b'"2026-01-02T03:04:05.678"'),
        (TIMESTAMPTZ, b"2026-01-02 03:04:05.678+00", b'"2026-01-02T03:04:05.678Z"'),
        (TIMESTAMPTZ, b"0044-03-15 12:00:00+00 BC", b'"0044-03-15T12:00:00Z BC"'),
        (TIMESTAMPTZ, b"infinity", b'"infinity"'),
    ],
)
def test_as_text_every_value_is_a_string(oid, text, document):
    assert text_renderer(builtin_shape(oid))(text) == document


def test_as_text_a_domain_is_its_base_type():
    moment = TypeShape(16409, "moment", TypeKind.DOMAIN, element=builtin_shape(TIMESTAMPTZ))

    assert text_renderer(moment)(b"2026-01-02 03:04:05+00") == b'"2026-01-02T03:04:05Z"'
