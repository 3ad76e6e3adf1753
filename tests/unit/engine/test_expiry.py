from __future__ import annotations

import math

from pgcast.engine.expiry import Expiries


def test_what_expires_is_told_once_the_oldest_first():
    expiries: Expiries[str] = Expiries()
    expiries.watch("b", 20.5)
    expiries.watch("a", 10.0)
    expiries.watch("c", 20.9)

    assert expiries.take_expired(9.9) == []
    assert expiries.take_expired(10.0) == ["a"]
    assert expiries.take_expired(20.95) == []  # within the same second, all together
    assert expiries.take_expired(21.0) == ["b", "c"]
    assert expiries.take_expired(100.0) == []
    assert len(expiries) == 0


def test_a_new_time_replaces_the_old_one():
    expiries: Expiries[str] = Expiries()
    expiries.watch("a", 10.0)
    expiries.watch("a", 30.0)

    assert expiries.take_expired(20.0) == []
    assert expiries.take_expired(30.0) == ["a"]


def test_what_is_forgotten_is_not_told_and_twice_is_safe():
    expiries: Expiries[str] = Expiries()
    expiries.watch("a", 10.0)
    expiries.watch("b", 10.0)
    expiries.forget("a")
    expiries.forget("a")

    assert expiries.take_expired(10.0) == ["b"]


def test_what_never_expires_is_not_watched():
    expiries: Expiries[str] = Expiries()
    expiries.watch("a", 10.0)
    expiries.watch("a", math.inf)

    assert len(expiries) == 0
    assert expiries.take_expired(1e12) == []


def test_a_clock_that_was_set_forward_loses_nothing():
    expiries: Expiries[int] = Expiries()
    for number in range(1000):
        expiries.watch(number, float(number))

    assert expiries.take_expired(1e9) == list(range(1000))


def test_nothing_stays_of_what_was_forgotten_long_before_its_time():
    expiries: Expiries[str] = Expiries()
    expiries.watch("b", 900.0)
    for second in range(10_000):
        expiries.watch("a", 1_000_000.0 + second)

    assert len(expiries._by_second) == 2
    assert len(expiries._seconds) < 1100
    assert expiries.take_expired(900.0) == ["b"]
    assert expiries.take_expired(1_009_998.0) == []
    assert expiries.take_expired(1_009_999.0) == ["a"]


def test_a_second_that_is_watched_again_is_told_once():
    expiries: Expiries[str] = Expiries()
    expiries.watch("a", 10.0)
    expiries.forget("a")
    expiries.watch("a", 10.0)
    expiries.watch("b", 10.0)

    assert expiries.take_expired(10.0) == ["a", "b"]
    assert expiries.take_expired(20.0) == []
