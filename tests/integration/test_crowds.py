"""A channel with a thousand members: what each of them ends with, counted."""

from __future__ import annotations

from typing import Any

import pytest

from crowd import Crowd, Person
from fix_node import Node

pytestmark = pytest.mark.slow

COUNT = 1000


def config(person: Person, **more: Any) -> dict[str, Any]:
    return {"config": {"presence": {"key": f"k{person.number}"}, **more}}


def numbers(person: Person, event: str) -> list[int]:
    """The numbers of the broadcasts of one name, in order."""
    return [payload["n"] for payload in person.payloads("broadcast") if payload["event"] == event]


async def test_a_thousand_members_hear_all_of_each_other_in_order(node: Node):
    quiet = {"config": {"presence": {"enabled": False}}}
    async with Crowd(node, COUNT) as crowd:
        people = crowd.people
        await crowd.say(people, "phx_join", quiet)
        await crowd.until(lambda person: person.replies == ["ok"], people)
        one, many = 100, people[:100]
        for number in range(one):
            people[0].push("broadcast", {"event": "one", "n": number})
        await crowd.say(many, "broadcast", lambda person: {"event": "many", "n": person.number})
        await crowd.until(lambda person: len(person.events) >= 99 + (100 if person.number else 0), people)
        for person in people:
            assert numbers(person, "one") == (list(range(one)) if person.number else [])
            assert sorted(numbers(person, "many")) == [n for n in range(len(many)) if n != person.number]
            assert not person.is_closed


async def test_a_thousand_come_and_go_at_once_and_everybody_knows_who_is_there(node: Node):
    async with Crowd(node, COUNT) as crowd:
        people = crowd.people

        # All join and track at once.
        await crowd.say(people, "phx_join", config)
        await crowd.say(people, "presence", lambda person: {"event": "track", "payload": {"n": person.number}})
        everybody = {f"k{person.number}": [person.number] for person in people}
        await crowd.until(lambda person: person.joins >= COUNT, people)
        assert all(person.present() == everybody for person in people)
        assert all(person.replies == ["ok", "ok"] for person in people)

        # All change at once.
        await crowd.say(people, "presence", lambda person: {"event": "track", "payload": {"n": -person.number}})
        changed = {f"k{person.number}": [-person.number] for person in people}
        await crowd.until(lambda person: person.joins >= 2 * COUNT - 1, people)
        assert all(person.present() == changed for person in people)

        # All but ten leave at once: by a leave, by an untrack, or by the death of their connection.
        stay, leave = people[:10], people[10:]
        for person in leave:
            if person.number % 3 == 0:
                person.push("phx_leave", {})
            elif person.number % 3 == 1:
                person.push("presence", {"event": "untrack"})
            else:
                person.transport.abort()
        left = {f"k{person.number}": [-person.number] for person in stay}
        still_there = [*stay, *(person for person in leave if person.number % 3 == 1)]
        await crowd.until(lambda person: person.leaves >= 2 * COUNT - 11, still_there)
        assert all(person.present() == left for person in still_there)
