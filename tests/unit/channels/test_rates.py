import pytest

from pgcast.channels.rates import Calls, Rate


def test_the_limit_is_reached_when_the_average_of_the_minute_is():
    rate = Rate(1)

    assert [rate.count(1000.0) for _ in range(60)] == [False] * 59 + [True]
    assert rate.is_reached
    assert rate.average(1000.0) == 1.0


def test_what_is_older_than_a_minute_does_not_count():
    rate = Rate(1)
    rate.count(1000.0, 59)

    assert rate.count(1054.0)
    assert not rate.count(1060.0)
    assert rate.average(1060.0) == pytest.approx(2 / 60)
    assert rate.average(5000.0) == 0
    assert not rate.is_reached


def test_time_passes_in_buckets_of_five_seconds():
    rate = Rate(100)
    for second in range(1000, 1060):
        rate.count(float(second))

    assert rate.average(1059.9) == 1.0
    assert rate.average(1060.0) == pytest.approx(55 / 60)


def test_whether_there_is_room_for_more_is_said_without_counting_it():
    rate = Rate(1)
    rate.count(0.0, 50)

    assert rate.has_room(0.0, 9)
    assert not rate.has_room(0.0, 10)
    assert rate.has_room(60.0, 59)


def test_a_call_too_many_is_one_within_the_span_of_as_many_others():
    calls = Calls(2, 30.0)

    assert [calls.count(at_s) for at_s in (0.0, 29.0, 29.5, 30.0, 60.0, 90.0)] == [
        *(False, False, True, True, False, False)
    ]
