from __future__ import annotations

import math

from pgcast.engine.expiry import Expiries


def test_what_expires_is_told_once_the_oldest_first():
    expiries: Expiries[str] = Expiries()
    expiries.watch("b", 20.5)
    expiries.watch("a", 10.0)
    expiries.watch("c", 20.9)

    assert expiries.take_expired(9.9, 2000) == []
    assert expiries.take_expired(10.0, 2000) == ["a"]
    assert expiries.take_expired(20.95, 2000) == []  # within the same second, all together
    assert expiries.take_expired(21.0, 2000) == ["c", "b"]
    assert expiries.take_expired(100.0, 2000) == []
    assert len(expiries) == 0


def test_a_new_time_replaces_the_old_one():
    expiries: Expiries[str] = Expiries()
    expiries.watch("a", 10.0)
    expiries.watch("a", 30.0)

    assert expiries.take_expired(20.0, 2000) == []
    assert expiries.take_expired(30.0, 2000) == ["a"]


def test_what_is_forgotten_is_not_told_and_twice_is_safe():
    expiries: Expiries[str] = Expiries()
    expiries.watch("a", 10.0)
    expiries.watch("b", 10.0)
    expiries.forget("a")
    expiries.forget("a")

    assert expiries.take_expired(10.0, 2000) == ["b"]


def test_what_never_expires_is_not_watched():
    expiries: Expiries[str] = Expiries()
    expiries.watch("a", 10.0)
    expiries.watch("a", math.inf)

    assert len(expiries) == 0
    assert expiries.take_expired(1e12, 2000) == []


def test_a_clock_that_was_set_forward_loses_nothing():
    expiries: Expiries[int] = Expiries()
    for number in range(1000):
        expiries.watch(number, float(number))

    assert expiries.take_expired(1e9, 2000) == list(range(1000))


def test_so_many_are_told_at_a_time_and_the_others_are_watched_meanwhile():
    expiries: Expiries[int] = Expiries()
    for number in range(250):
        expiries.watch(number, 10.0)
    assert len(expiries.take_expired(10.0, 100)) == 100
    assert len(expiries) == 150
    expiries.watch(0, 20.0)  # it has a new token
    expiries.forget(1)
    assert sorted(expiries.take_expired(10.0, 100) + expiries.take_expired(10.0, 100)) == list(range(2, 150))
    assert expiries.take_expired(20.0, 100) == [0]


def test_nothing_stays_of_what_was_forgotten_long_before_its_time():
    expiries: Expiries[str] = Expiries()
    expiries.watch("b", 900.0)
    for second in range(10_000):
        expiries.watch("a", 1_000_000.0 + second)

    assert len(expiries._by_second) == 2
    assert len(expiries._seconds) < 1100
    assert expiries.take_expired(900.0, 2000) == ["b"]
    assert expiries.take_expired(1_009_998.0, 2000) == []
    assert expiries.take_expired(1_009_999.0, 2000) == ["a"]


def test_a_second_that_is_watched_again_is_told_once():
    expiries: Expiries[str] = Expiries()
    expiries.watch("a", 10.0)
    expiries.forget("a")
    expiries.watch("a", 10.0)
    expiries.watch("b", 10.0)

    assert sorted(expiries.take_expired(10.0, 2000)) == ["a", "b"]
    assert expiries.take_expired(20.0, 2000) == []
