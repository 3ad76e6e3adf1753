from making import change, table, transaction
from memory_outlet import MemoryOutlet

from pgcast.changes.payload import Payloads
from pgcast.engine.groups import Group, Member, Signature
from pgcast.fanout.ring import Ring, RingBudget
from pgcast.frames.codec import serializer_for
from pgcast.matching.conditions import Condition
from pgcast.matching.index import ROW_KINDS, Entry
from pgcast.model.change import Kind

V2 = serializer_for("2.0.0")
DATA = Payloads().current(change(transaction(100), on=table()))


def make_group(*, is_legacy: bool = False) -> Group:
    signature = Signature("2.0.0", "realtime:t", (Entry(1, ROW_KINDS),), is_legacy=is_legacy)
    return Group(signature, V2, Ring(1000, RingBudget(1000)))


def read(*contents: bytes) -> list[list]:
    outlet = MemoryOutlet()
    for content in contents:
        outlet.write(content)
    return outlet.messages


def test_a_tick_holds_the_frames_of_all_changes_since_the_last_one_in_order():
    group = make_group()
    group.add((1,), DATA)
    group.add((1, 2), DATA)
    tick = group.take_tick(7)
    assert [message[4]["ids"] for message in read(*tick.pieces)] == [[1], [1, 2]]
    assert (tick.window_start, tick.window_end) == (0, 7)
    assert group.pending == []


def test_a_frame_is_the_same_for_one_reader_as_within_a_tick():
    group = make_group()
    size = group.add((1,), DATA)
    alone = b"".join(group.frame((1,), DATA))
    assert group.take_tick(1).pieces == (alone,)
    assert len(alone) > size >= len(DATA)


def test_a_group_of_the_oldest_protocol_sends_the_payload_as_it_is():
    group = make_group(is_legacy=True)
    _, _, topic, event, payload = read(b"".join(group.frame(Kind.INSERT, DATA)))[0]
    assert (topic, event, payload["record"]) == ("realtime:t", "INSERT", {"id": 1})


def test_what_is_kept_for_sets_of_ids_is_bounded():
    group = make_group()
    for number in range(3000):
        group.frame((number,), DATA)
    assert len(group._parts) <= 1000


def test_a_group_is_empty_when_its_last_member_has_left_wherever_that_stood():
    group = make_group()
    assert group.is_empty
    for place in (group.level, group.behind, group.reading):
        member = Member(MemoryOutlet(), group)
        place[member] = None
        assert not group.is_empty
        del place[member]
    assert group.is_empty


def test_a_large_payload_is_a_piece_of_its_own_and_is_not_copied():
    group = make_group()
    large = b"x" * 100_000
    group.add((1,), DATA)
    group.add((1,), large)
    group.add((1,), DATA)
    pieces = group.take_tick(1).pieces
    assert len(pieces) == 3
    assert pieces[1] is large


def test_what_concerns_a_group_passes_by_its_filters():
    hidden = Condition("title", "eq", ("x",), canonical=((25, (b"x",)),))
    entries = (
        Entry(1, ROW_KINDS, "public", "todos", (hidden,)),
        Entry(2, ROW_KINDS, "public", "other"),
        Entry(3, frozenset({Kind.DELETE})),
        Entry(4, ROW_KINDS),
    )
    group = Group(
        Signature("2.0.0", "realtime:t", entries, is_legacy=False, role="anon"),
        serializer_for("2.0.0"),
        Ring(1000, RingBudget(1000)),
    )

    assert group.role == "anon"
    assert group.concerned(change(transaction(100), on=table())) == (1, 4)
    assert group.unguessed((1, 4), None) == group.unguessed((1, 4), frozenset({"title"})) == (1, 4)
    assert group.unguessed((1, 4), frozenset({"id"})) == (4,)
