from __future__ import annotations

import json

import pytest
from making import INT8, TEXT

from pgcast.changes.limits import short_object
from pgcast.changes.values import renderer
from pgcast.model.change import ABSENT


@pytest.mark.parametrize(
    ("value", "is_kept"),
    [(b"", True), (b"x" * 62, True), (b"x" * 63, False), (b"\n" * 31, True), (b"\n" * 32, False), (b"x" * 5000, False)],
)
def test_a_value_is_kept_if_its_json_has_at_most_64_bytes_quotes_included(value: bytes, is_kept: bool):  # noqa: FBT001
    kept = short_object([(b'"v":', renderer(TEXT))], [value])
    assert json.loads(kept) == ({"v": value.decode()} if is_kept else {})


def test_null_and_what_was_not_sent_are_left_out():
    columns = [(b'"a":', renderer(INT8)), (b'"b":', renderer(INT8)), (b'"c":', renderer(INT8))]
    assert short_object(columns, [b"1", None, ABSENT]) == b'{"a":1}'
