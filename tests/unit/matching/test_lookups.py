import random

import pytest

from pgcast.matching.lookups import Bounds, Bucket, Intervals, Prefixes


def test_a_bucket_tells_when_a_key_comes_and_goes():
    bucket: Bucket[str] = Bucket()
    assert bucket.put(1, "a")
    assert not bucket.put(1, "b")
    assert not bucket.take(1, "a")
    assert bucket.take(1, "b")
    assert not bucket


@pytest.mark.parametrize(
    ("operator", "found"), [("lt", {3, 4}), ("lte", {2, 3, 4}), ("gt", {0, 1}), ("gte", {0, 1, 2})]
)
@pytest.mark.parametrize("others", [0, 200])
def test_bounds_find_those_that_hold(operator: str, found: set[int], others: int):
    bounds: Bounds[int] = Bounds(operator)
    for key in random.Random(1).sample(range(5), 5):
        bounds.add(key, key)
    for number in range(others):
        bounds.add(number + 10 if operator.startswith("g") else -number - 10, -1)
    assert set(bounds.find(2)) == found
    for key in range(5):
        bounds.remove(key, key)
    assert set(bounds.find(2)) == set()


def test_prefixes_find_what_a_text_begins_with():
    prefixes: Prefixes[str] = Prefixes()
    for text in ("a", "ab", "b", "x" * 100):
        prefixes.add(text.encode(), text)
    assert set(prefixes.find(b"abc")) == {"a", "ab"}
    assert set(prefixes.find(b"x" * 50)) == {"x" * 100}, "whoever finds it tests it"
    prefixes.remove(b"ab", "ab")
    prefixes.remove(b"a", "a")
    assert list(prefixes.find(b"abc")) == []
    assert set(prefixes._lengths) == {1, 32}


def test_intervals_find_those_that_contain_a_point():
    chance = random.Random(3)
    intervals: Intervals[object] = Intervals()
    present: dict[object, tuple[int, int]] = {}
    for _ in range(3000):
        if present and chance.random() < 0.4:
            gone = chance.choice(list(present))
            del present[gone]
            intervals.remove(gone)
        else:
            low = chance.randrange(1000)
            new = object()
            present[new] = (low, low + chance.choice([0, 3, 500]))
            intervals.add(*present[new], new)
        if chance.random() < 0.2:
            point = chance.randrange(1200)
            found = list(intervals.find(point))
            assert len(found) == len(set(found))
            assert set(found) == {item for item, (low, high) in present.items() if low <= point <= high}
    for item in present:
        intervals.remove(item)
    assert not intervals


def test_an_interval_that_is_upside_down_contains_nothing():
    intervals: Intervals[str] = Intervals()
    intervals.add(5, 1, "a")
    assert list(intervals.find(3)) == []


def test_many_disjoint_intervals_make_few_levels():
    intervals: Intervals[int] = Intervals()
    for number in range(5000):
        intervals.add(2 * number, 2 * number + 1, number)
        if number % 70 == 0:
            assert list(intervals.find(-1)) == []
    assert list(intervals.find(2001)) == [1000]
    assert len(intervals._levels) < 8
