from __future__ import annotations

import pytest

from pgcast.engine.floor import Floor, floor_of
from pgcast.engine.ports import StreamStart
from pgcast.model.lsn import Lsn


def start(*, slot_created: bool = False) -> StreamStart:
    return StreamStart("7", "5", 180_004, "s", slot_created=slot_created, confirmed_lsn=Lsn(900))


def test_what_the_last_run_knew_of_the_confirmed_place_counts():
    assert floor_of(Floor("e", 900, 800, 3), start(), "e") == (800, 3)


@pytest.mark.parametrize("known", [None, Floor("f", 900, 800, 3), Floor("e", 899, 800, 3)])
def test_without_that_it_is_the_confirmed_place_itself(known: Floor | None):
    assert floor_of(known, start(), "e") == (900, 0)


def test_a_new_slot_knows_no_past():
    assert floor_of(Floor("e", 900, 800, 3), start(slot_created=True), "e") == (900, 0)
