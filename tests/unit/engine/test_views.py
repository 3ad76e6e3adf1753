import json

from making import change, table, transaction

from pgcast.changes.payload import Payloads
from pgcast.engine.groups import Group, Signature
from pgcast.engine.views import Views
from pgcast.fanout.ring import Ring, RingBudget
from pgcast.frames.codec import serializer_for
from pgcast.matching.index import ROW_KINDS, Entry
from pgcast.model.change import Kind


def group_of(*entries: Entry, is_legacy: bool = False) -> Group:
    signature = Signature("2.0.0", "realtime:t", entries, is_legacy=is_legacy)
    return Group(signature, serializer_for("2.0.0"), Ring(1000, RingBudget(1000)))


def views(kind: Kind = Kind.INSERT) -> Views:
    return Views(Payloads(), change(transaction(100), on=table(), kind=kind), as_text=False)


def test_bindings_of_the_same_columns_share_a_message():
    group = group_of(Entry(1, ROW_KINDS), Entry(2, ROW_KINDS, select=("id",)), Entry(3, ROW_KINDS, select=("id",)))
    whole, some = views().messages(group, (1, 2, 3))
    assert (whole[0], some[0]) == ((1,), (2, 3))
    assert len(json.loads(some[1])["columns"]) == 1


def test_a_payload_is_made_once_for_all_groups():
    one = views()
    first, second = (group_of(Entry(number, ROW_KINDS, select=("id",))) for number in (1, 2))
    assert next(one.messages(first, (1,)))[1] is next(one.messages(second, (2,)))[1]


def test_a_row_that_left_says_so():
    (told,) = views(Kind.UPDATE).messages(group_of(Entry(1, ROW_KINDS)), (1,), is_left=True)
    assert json.loads(told[1])["left"] is True


def test_the_oldest_protocol_gets_its_own_shape_once():
    one, group = views(), group_of(Entry(1, ROW_KINDS), is_legacy=True)
    ((key, data),) = one.messages(group, (1,))
    assert key is Kind.INSERT
    assert "flags" in json.loads(data)["columns"][0]
    assert next(one.messages(group, (1,)))[1] is data


def test_members_that_take_less_get_what_is_too_large_for_them_shortened():
    entries = (Entry(1, ROW_KINDS), Entry(2, ROW_KINDS, select=("id",)))
    whole = Group(
        Signature("2.0.0", "realtime:t", entries, is_legacy=False),
        serializer_for("2.0.0"),
        Ring(1000, RingBudget(1000)),
    )
    one = views(Kind.UPDATE)
    (ids, data), _ = one.messages(whole, (1, 2), is_left=True)
    size = sum(map(len, whole.frame(ids, data)[1:]))
    for max_bytes, errors in ((size, None), (size - 1, ["Error 413: Payload Too Large"])):
        signature = Signature("2.0.0", "realtime:t", entries, is_legacy=False, max_bytes=max_bytes)
        limited = Group(signature, serializer_for("2.0.0"), Ring(1000, RingBudget(1000)))
        assert not limited.has_one_view
        told, small = one.messages(limited, (1, 2), is_left=True)
        assert json.loads(told[1])["errors"] == errors
        assert json.loads(told[1])["left"] is True
        assert json.loads(small[1])["errors"] is None


def test_so_do_members_of_the_oldest_protocol():
    signature = Signature("1.0.0", "realtime:t", (Entry(1, ROW_KINDS),), is_legacy=True, max_bytes=10)
    group = Group(signature, serializer_for("1.0.0"), Ring(1000, RingBudget(1000)))
    ((_, data),) = views().messages(group, (1,))
    assert json.loads(data)["errors"] == ["Error 413: Payload Too Large"]
