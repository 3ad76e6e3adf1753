"""A shop's API that carries the realtime server inside: one process, one port."""

import os
from collections import deque
from decimal import Decimal

import psycopg
from fastapi import FastAPI
from pydantic import BaseModel

import pgcast

DATABASE_URL = os.environ["DATABASE_URL"]

app = FastAPI()
realtime = pgcast.mount(app, DATABASE_URL=DATABASE_URL, SLOT_NAME="shop", SECURE_CHANNELS="false")

latest: deque[str] = deque(maxlen=10)


class Order(BaseModel):
    item: str
    price: Decimal


@app.post("/orders")
async def place(order: Order) -> dict[str, int]:
    async with await psycopg.AsyncConnection.connect(DATABASE_URL) as database:
        cursor = await database.execute(
            "INSERT INTO orders (item, price) VALUES (%s, %s) RETURNING id", [order.item, order.price]
        )
        (order_id,) = await cursor.fetchone() or (0,)
    return {"id": order_id}


@app.get("/latest")
async def tell_latest() -> list[str]:
    return list(latest)


@realtime.on("orders", events=["INSERT"])
async def remember(change: pgcast.PlainChange) -> None:
    if change.record is not None:
        latest.append(f"{change.record['item']} for {change.text('price')}")
