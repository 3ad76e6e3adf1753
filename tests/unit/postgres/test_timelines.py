from __future__ import annotations

import pytest

from pgcast.model.lsn import parse_lsn
from pgcast.postgres.timelines import switch_point

HISTORY = """\
1\t0/3000148\tno recovery target specified

2\t16/B374D848\tbefore 2026-01-02 03:04:05+00
"""


@pytest.mark.parametrize(("timeline", "lsn"), [(1, "0/3000148"), (2, "16/B374D848")])
def test_a_history_says_where_it_left_a_timeline(timeline: int, lsn: str):
    assert switch_point(HISTORY, timeline) == parse_lsn(lsn)


@pytest.mark.parametrize(("history", "timeline"), [(HISTORY, 3), (HISTORY, 11), ("", 1)])
def test_a_timeline_that_is_no_part_of_it_was_never_left(history: str, timeline: int):
    assert switch_point(history, timeline) is None
