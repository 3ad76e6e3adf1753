"""The demo's writes: orders are placed, cooked, delivered and cleared away, couriers ride about, at a gentle rate.

Each step is one statement, and each carries its own bound: a full table takes no more rows, an empty one gives none
away. So the tables keep their size whatever else is written into them by hand.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import psycopg

from pgcast.logs import get_logger

if TYPE_CHECKING:
    from random import Random

log = get_logger(__name__)

_RETRY_S: Final = 2.0
# Behind by more than that, time is not made up for.
_LATE_S: Final = 1.0

_DISHES: Final = (
    ("Margherita", "11.50"),
    ("Pad Thai", "13.90"),
    ("Ramen", "14.90"),
    ("Falafel plate", "10.80"),
    ("Lasagne", "13.20"),
    ("Bibimbap", "15.60"),
    ("Tacos", "9.00"),
    ("Shakshuka", "12.30"),
    ("Butter chicken", "16.40"),
    ("Pierogi", "10.20"),
)
_NOTES: Final = ("ring twice", "no onions", "extra spicy", "leave at the door", "third floor")
_NAMES: Final = ("Noor", "Kofi", "Lena", "Hiro", "Zofia", "Mateo", "Priya", "Olu", "Freya", "Sami")
_VEHICLES: Final = ("bicycle", "cargo_bike", "scooter")


class Step(Enum):
    """What can happen; the value is its statement, which affects no row where it cannot."""

    PLACE = """
        INSERT INTO orders (dish, total, details)
        SELECT %(dish)s, %(price)s::numeric * %(items)s, %(details)s::jsonb
        WHERE (SELECT count(*) FROM orders) < 12
    """
    ADVANCE = """
        UPDATE orders SET
            status = (enum_range(NULL::order_status))[array_position(enum_range(NULL::order_status), status) + 1],
            is_paid = is_paid OR status = 'on_the_way',
            courier_id = coalesce(courier_id, (SELECT id FROM couriers WHERE is_on_duty ORDER BY random() LIMIT 1))
        WHERE id = (SELECT id FROM orders WHERE status <> 'delivered' ORDER BY random() LIMIT 1)
    """
    CLEAR = """
        DELETE FROM orders
        WHERE id = (SELECT id FROM orders WHERE status = 'delivered' ORDER BY placed_at LIMIT 1)
            AND (SELECT count(*) FROM orders) > 6
    """
    RIDE = """
        UPDATE couriers SET location = %(location)s::jsonb, seen_at = now()
        WHERE id = (SELECT id FROM couriers WHERE is_on_duty ORDER BY random() LIMIT 1)
    """
    RATE = """
        UPDATE couriers SET rating = least(5.0, greatest(3.0, rating + %(difference)s::numeric))
        WHERE id = (SELECT id FROM couriers ORDER BY random() LIMIT 1)
    """
    TURN = """
        UPDATE couriers SET is_on_duty = NOT is_on_duty
        WHERE id = (SELECT id FROM couriers ORDER BY random() LIMIT 1)
    """
    HIRE = """
        INSERT INTO couriers (name, vehicle, location)
        SELECT %(name)s, %(vehicle)s::vehicle, %(location)s::jsonb
        WHERE (SELECT count(*) FROM couriers) < 7
    """
    PART = """
        DELETE FROM couriers
        WHERE id = (SELECT id FROM couriers ORDER BY random() LIMIT 1) AND (SELECT count(*) FROM couriers) > 5
    """


_ROUND: Final = {Step.PLACE: 2, Step.ADVANCE: 4, Step.CLEAR: 2, Step.RIDE: 3, Step.RATE: 1}
_NOW_AND_THEN: Final = (Step.TURN, Step.HIRE, Step.PART)


class Deck:
    """Deals steps in rounds: each round holds every kind, in random order, so that none is missing for long."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._steps: list[Step] = []

    def deal(self) -> Step:
        """Return the next step."""
        if not self._steps:
            self._steps = [step for step, times in _ROUND.items() for _ in range(times)]
            self._steps.append(self._rng.choice(_NOW_AND_THEN))
            self._rng.shuffle(self._steps)
        return self._steps.pop()


def parameters(rng: Random) -> dict[str, Any]:
    """Make up what a step may need."""
    dish, price = rng.choice(_DISHES)
    items = rng.choice((1, 1, 1, 2, 2, 3))
    note = f', "note": "{rng.choice(_NOTES)}"' if rng.random() < 0.4 else ""
    return {
        "dish": dish,
        "price": price,
        "items": items,
        "details": f'{{"items": {items}{note}}}',
        "location": f'{{"x": {rng.randrange(100)}, "y": {rng.randrange(100)}}}',
        "difference": rng.choice(("-0.2", "-0.1", "0.1", "0.2")),
        "name": rng.choice(_NAMES),
        "vehicle": rng.choice(_VEHICLES),
    }


async def write_traffic(dsn: str, rate: float, rng: Random) -> None:
    """Write for ever. What Postgres refuses, because somebody changed the tables, pauses the writes and is logged.

    Args:
        dsn: The database.
        rate: Writes a second, on average; above 0.
        rng: Where chance comes from.
    """
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
                await _write(connection, rate, rng)
        except psycopg.Error as error:
            log.error("the demo's writes pause", error=str(error).partition("\n")[0])  # noqa: TRY400 - no traceback
            await asyncio.sleep(_RETRY_S)


async def _write(connection: psycopg.AsyncConnection, rate: float, rng: Random) -> None:
    deck = Deck(rng)
    clock = asyncio.get_running_loop().time
    due_s = clock()
    while True:
        await _take_step(connection, deck, rng)
        due_s = max(due_s + rng.uniform(0.5, 1.5) / rate, clock() - _LATE_S)
        await asyncio.sleep(max(0.0, due_s - clock()))


async def _take_step(connection: psycopg.AsyncConnection, deck: Deck, rng: Random) -> None:
    """Take the next step that is possible; one round at most, so that emptied tables do not make it run for ever."""
    for _ in range(sum(_ROUND.values())):
        cursor = await connection.execute(deck.deal().value, parameters(rng))
        if cursor.rowcount:
            return
