import pytest

from pgcast.engine.acknowledged import Acknowledged, Identity, Wanted
from pgcast.model.lsn import Lsn
from pgcast.model.position import Position

ADA = Wanted(Identity("ada"), "realtime:room", "b1")
SUBJECT = Wanted(Identity("user-1", is_shared=True), "realtime:room", "b1")


def at(lsn: int, epoch: str = "0a0b0c0d") -> Position:
    return Position(epoch, Lsn(lsn), 0)


def test_a_client_goes_on_from_what_it_acknowledged():
    marks = Acknowledged(120)
    assert marks.find(ADA) is None
    mark = marks.start(ADA, at(10))
    assert marks.find(ADA) == at(10)
    marks.advance(mark, at(20))
    marks.gone(mark, 0)
    assert marks.find(ADA) == at(20)


def test_another_topic_or_other_bindings_know_nothing_of_it():
    marks = Acknowledged(120)
    marks.start(ADA, at(10))
    assert marks.find(Wanted(ADA.identity, "realtime:other", "b1")) is None
    assert marks.find(Wanted(ADA.identity, "realtime:room", "b2")) is None


def test_a_mark_never_goes_back_but_follows_to_another_history():
    marks = Acknowledged(120)
    mark = marks.start(ADA, at(10))
    marks.advance(mark, at(5))
    assert mark.position == at(10)
    marks.advance(mark, at(5, "ffffffff"))
    assert mark.position == at(5, "ffffffff")


def test_of_one_id_the_newest_connection_counts():
    marks = Acknowledged(120)
    old = marks.start(ADA, at(10))
    marks.gone(old, 0)
    marks.start(ADA, at(20))
    assert marks.find(ADA) == at(20)
    assert len(marks) == 1
    marks.gone(old, 0)
    assert marks.find(ADA) == at(20)


def test_of_one_subject_the_oldest_that_is_gone_counts():
    marks = Acknowledged(120)
    phone, laptop = marks.start(SUBJECT, at(10)), marks.start(SUBJECT, at(30))
    assert marks.find(SUBJECT) is None, "both are there: a third device starts from now on"
    marks.gone(laptop, 0)
    assert marks.find(SUBJECT) == at(30)
    marks.gone(phone, 0)
    assert marks.find(SUBJECT) == at(10)
    assert marks.find(SUBJECT) == at(10), "whoever comes first does not take it from the other"


def test_marks_outlive_their_connection_for_a_while():
    marks = Acknowledged(120)
    gone, lives = marks.start(ADA, at(10)), marks.start(SUBJECT, at(10))
    marks.gone(gone, 0)
    marks.expire(120)
    assert len(marks) == 2
    marks.expire(121)
    assert marks.find(ADA) is None
    assert len(marks) == 1
    marks.gone(lives, 121)


def test_marks_have_a_bound_and_the_oldest_goes():
    marks = Acknowledged(120, max_marks=2)
    names = [Wanted(Identity(str(number)), "realtime:room", "b") for number in range(3)]
    for wanted in names:
        marks.start(wanted, at(1))
    assert [marks.find(wanted) for wanted in names] == [None, at(1), at(1)]


def test_marks_are_written_down_and_read_back():
    marks = Acknowledged(120)
    marks.start(ADA, at(10))
    marks.start(SUBJECT, at(30))
    marks.start(SUBJECT, at(20))
    assert marks.is_changed
    again = Acknowledged(120)
    again.load(marks.dump(), 5)
    assert again.find(ADA) == at(10)
    assert again.find(SUBJECT) == at(20), "nobody is connected to a server that has just started"
    again.expire(126)
    assert len(again) == 0


@pytest.mark.parametrize("row", [[], ["ada"], "x", ["ada", 1, "t", "b", "e", 1, 1], [None] * 7])
def test_what_is_no_mark_is_refused(row: object):
    with pytest.raises(ValueError, match="not a mark"):
        Acknowledged(120).load([row], 0)  # type: ignore[list-item]


def test_who_could_not_take_a_large_message_is_remembered_until_it_has_stayed_away():
    marks = Acknowledged(120)
    assert not marks.is_limited(ADA.identity)
    assert not marks.is_limited(None)
    marks.limit(ADA.identity, 0)
    assert marks.is_changed
    marks.limit(SUBJECT.identity, 50)
    marks.limit(ADA.identity, 60)
    marks.expire(175)
    assert (marks.is_limited(ADA.identity), marks.is_limited(SUBJECT.identity)) == (True, False)
    marks.expire(181)
    assert not marks.is_limited(ADA.identity)


def test_that_survives_a_restart_and_is_bounded():
    marks = Acknowledged(120, max_marks=2)
    for name in "abc":
        marks.limit(Identity(name), 0)
    again = Acknowledged(120)
    again.load(marks.dump(), 0)
    assert [again.is_limited(Identity(name)) for name in "abc"] == [False, True, True]
