import json
from itertools import count

from pgcast.channels.presence import PART_BYTES, Presences


def make_presences():
    numbers = count(1)
    return Presences(lambda: f"r{next(numbers)}")


def difference(presences):
    texts = presences.take_difference()
    return json.loads(texts[0]) if texts else None


def state(presences):
    (text,) = presences.state()
    return json.loads(text)


def test_nobody_is_there_at_first():
    presences = make_presences()

    assert (presences.state(), presences.take_difference(), len(presences)) == ((b"{}",), [], 0)


def test_who_comes_is_a_join_and_who_goes_a_leave():
    presences = make_presences()
    assert presences.track(1, "ada", b'"name":"Ada"')
    assert difference(presences) == {
        "joins": {"ada": {"metas": [{"phx_ref": "r1", "name": "Ada"}]}},
        "leaves": {},
    }
    assert presences.untrack(1)
    assert difference(presences) == {
        "joins": {},
        "leaves": {"ada": {"metas": [{"phx_ref": "r1", "name": "Ada"}]}},
    }
    assert state(presences) == {}


def test_a_change_is_a_join_that_names_the_version_before_it_and_a_leave_of_that():
    presences = make_presences()
    presences.track(1, "ada", b"")
    presences.take_difference()
    assert presences.track(1, "ada", b'"typing":true')

    assert difference(presences) == {
        "joins": {"ada": {"metas": [{"phx_ref": "r2", "phx_ref_prev": "r1", "typing": True}]}},
        "leaves": {"ada": {"metas": [{"phx_ref": "r1"}]}},
    }


def test_the_same_again_is_no_event():
    presences = make_presences()
    presences.track(1, "ada", b'"a":1')
    presences.take_difference()

    assert not presences.track(1, "ada", b'"a":1')
    assert presences.take_difference() == []


def test_who_goes_without_having_come_is_no_event():
    presences = make_presences()

    assert not presences.untrack(1)
    assert presences.take_difference() == []


def test_who_comes_and_goes_within_one_tick_is_not_mentioned():
    presences = make_presences()
    presences.track(1, "ada", b"")
    presences.untrack(1)

    assert presences.take_difference() == []


def test_changes_within_one_tick_are_one_change_from_what_was_shown():
    presences = make_presences()
    presences.track(1, "ada", b'"n":1')
    presences.track(1, "ada", b'"n":2')
    assert difference(presences)["joins"] == {"ada": {"metas": [{"phx_ref": "r2", "n": 2}]}}
    presences.track(1, "ada", b'"n":3')
    presences.untrack(1)
    presences.track(1, "ada", b'"n":4')

    assert difference(presences) == {
        "joins": {"ada": {"metas": [{"phx_ref": "r4", "phx_ref_prev": "r2", "n": 4}]}},
        "leaves": {"ada": {"metas": [{"phx_ref": "r2", "n": 2}]}},
    }


def test_several_channels_share_a_key():
    presences = make_presences()
    presences.track(1, "ada", b'"tab":1')
    presences.track(2, "ada", b'"tab":2')
    presences.track(3, "bob", b"")
    presences.take_difference()

    assert state(presences) == {
        "ada": {"metas": [{"phx_ref": "r1", "tab": 1}, {"phx_ref": "r2", "tab": 2}]},
        "bob": {"metas": [{"phx_ref": "r3"}]},
    }
    presences.untrack(1)
    presences.take_difference()
    assert state(presences)["ada"] == {"metas": [{"phx_ref": "r2", "tab": 2}]}
    assert len(presences) == 2


def test_the_state_is_that_of_the_last_tick_and_made_once_for_it():
    presences = make_presences()
    presences.track(1, "ada", b"")
    assert presences.state() == (b"{}",)
    presences.take_difference()
    first = presences.state()
    presences.track(2, "bob", b"")
    assert presences.state() is first
    presences.take_difference()
    assert presences.state() is not first


def test_any_text_is_a_key():
    presences = make_presences()
    presences.track(1, 'a"\\ü\n', b"")
    presences.take_difference()

    assert list(state(presences)) == ['a"\\ü\n']


def test_what_is_large_is_told_in_parts_that_complete_each_other():
    presences = make_presences()
    told = b'"note":"%b"' % (b"x" * 100_000)
    for owner in range(12):
        presences.track(owner, f"k{owner % 2}", told)
    parts = presences.take_difference()
    first, *more = presences.state()

    assert len(parts) == len([first, *more]) == 3
    assert max(map(len, (*parts, first, *more))) < PART_BYTES + 200_000
    refs = [
        meta["phx_ref"] for part in parts for entry in json.loads(part)["joins"].values() for meta in entry["metas"]
    ]
    assert sorted(refs, key=lambda ref: int(ref[1:])) == [f"r{number}" for number in range(1, 13)]
    found = [json.loads(first), *(json.loads(part)["joins"] for part in more)]
    assert sorted(
        (meta["phx_ref"] for part in found for entry in part.values() for meta in entry["metas"]),
        key=lambda ref: int(ref[1:]),
    ) == [f"r{number}" for number in range(1, 13)]
    for owner in range(12):
        presences.track(owner, f"k{owner % 2}", told + b',"n":1')
    for part in map(json.loads, presences.take_difference()):
        left = {meta["phx_ref"] for entry in part["leaves"].values() for meta in entry["metas"]}
        assert left == {meta["phx_ref_prev"] for entry in part["joins"].values() for meta in entry["metas"]}
