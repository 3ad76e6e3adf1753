from __future__ import annotations

import json
from random import Random

import pytest

from pgcast.cli.demo.traffic import Deck, Step, parameters


@pytest.mark.parametrize("seed", range(5))
def test_every_round_inserts_updates_and_deletes(seed: int):
    deck = Deck(Random(seed))
    for _ in range(10):
        verbs = {deck.deal().value.split()[0] for _ in range(13)}
        assert verbs == {"INSERT", "UPDATE", "DELETE"}


def test_in_the_long_run_every_step_is_dealt():
    deck = Deck(Random(1))
    assert {deck.deal() for _ in range(500)} == set(Step)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_made_up_is_json_where_json_is_meant(seed: int):
    made = parameters(Random(seed))
    assert json.loads(made["details"])["items"] == made["items"]
    assert json.loads(made["location"]).keys() == {"x", "y"}
