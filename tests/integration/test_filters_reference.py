"""Every filter that the reference shows delivers the rows that the SQL beside it finds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fix_node import Node
from pgcast.devdb.template import Database
from realtime_client import RealtimeClient

PAGE = Path(__file__).parents[2] / "docs/reference/filters.md"
SHOWN = re.findall(r"^\| `(\S.*?)` \| `(.*?)` \|$", PAGE.read_text().split("## Columns")[0], re.MULTILINE)

ORDERS = """
    create table orders (id int primary key, status text, price numeric, placed_at timestamptz, title text,
                         deleted_at timestamptz, is_paid bool, attributes jsonb)
"""
ROWS = """
    insert into orders values
    (1, 'open', 9.9, '2025-12-31 23:00:00-02', 'draft tea', null, true, '{"color": "red", "size": [3, 4]}'),
    (2, 'open', 10, '2026-01-01 00:00:00+00', 'TEA', now(), false, '{"color": "blue", "size": [3.0]}'),
    (3, 'on hold', 19.99, '2026-01-02 00:00:00+00', 'tea, green', null, null, '{"color": "red", "size": "3"}'),
    (4, 'done', 20, null, 'bread', now(), true, '{}'),
    (5, null, null, '2024-01-01 00:00:00+00', null, null, null, null),
    (6, 'open', 100, '2024-01-01 00:00:00+00', 'another draft', null, true, '[1]'),
    (7, 'done', 4.5, '2030-01-01 00:00:00+00', 'cheap', null, true, '{"size": []}')
"""


def test_the_reference_shows_every_operator():
    operators = ("eq", "neq", "lt", "lte", "gt", "gte", "in", "like", "ilike", "is", "match", "imatch", "isdistinct")
    shown = " ".join(text for text, _ in SHOWN)
    for operator in operators:
        assert f"={operator}." in shown
    assert len(SHOWN) > 20


@pytest.fixture
def orders(published: Database) -> Database:
    published.execute(ORDERS)
    return published


async def test_each_filter_finds_what_its_sql_finds(orders: Database, node: Node):
    orders_entry = {"event": "INSERT", "schema": "public", "table": "orders"}
    async with RealtimeClient(node.url) as client:
        response = await client.join("realtime:room", *({**orders_entry, "filter": text} for text, _ in SHOWN))
        ids = [echo["id"] for echo in response["postgres_changes"]]
        await client.join("realtime:all", orders_entry)
        orders.execute(ROWS)
        delivered: dict[int, set[int]] = {one: set() for one in ids}
        while True:
            message = await client.receive_until(lambda message: message["event"] == "postgres_changes")
            number = message["payload"]["data"]["record"]["id"]
            for one in message["payload"]["ids"] if message["topic"] == "realtime:room" else ():
                delivered[one].add(number)
            if message["topic"] == "realtime:room" and number == 7:
                break
    for one, (text, sql) in zip(ids, SHOWN, strict=True):
        assert delivered[one] == {number for (number,) in orders.execute(f"select id from orders where {sql}")}, text
