"""The application of `examples/06-fastapi`: its own routes, its handler, and the official clients on one port."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from fix_clients import REALTIME_PY, SUPABASE_JS, Client, application
from fix_node import Node, clean_environment, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgcast.devdb.template import Database

EXAMPLE = Path(__file__).parents[2] / "examples/06-fastapi"
DEADLINE_S = 20.0


@pytest.fixture(params=[["--ws", "pgcast.asgi:FastWebSockets"], []], ids=["fast", "asgi"])
def shop(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Iterator[Node]:
    """The example under uvicorn, as its README starts it, and without the option."""
    database.execute((EXAMPLE / "init.sql").read_text())
    port = free_port()
    environment = {**clean_environment(), "DATABASE_URL": database.dsn}
    node = Node(environment, port, tmp_path / "log")
    with node.log_path.open("wb") as log:
        node.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "uvicorn",
                "app:app",
                "--app-dir",
                str(EXAMPLE),
                "--port",
                str(port),
                *request.param,
            ],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        _wait_until_up(node)
        yield node
    finally:
        node.stop()
    assert "Traceback" not in node.log(), node.log()


def _wait_until_up(node: Node) -> None:
    ends = time.monotonic() + DEADLINE_S
    while time.monotonic() < ends:
        assert node.process is not None
        assert node.process.poll() is None, node.log()
        try:
            if httpx.get(f"{node.http_url}/realtime/v1/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(node.log())


MOUNTED_PY = Client(REALTIME_PY.package, REALTIME_PY.vsn, "/realtime/v1")


@pytest.mark.parametrize("client", [SUPABASE_JS, MOUNTED_PY], ids=str)
async def test_an_order_reaches_the_handler_and_an_official_client(shop: Node, client: Client):
    channel = {"topic": "orders", "bindings": [{"event": "INSERT", "schema": "public", "table": "orders"}]}
    async with application(client, shop, channel) as listening, httpx.AsyncClient(base_url=shop.http_url) as http:
        await listening.gets_status("SUBSCRIBED", "orders")
        placed = await http.post("/orders", json={"item": "tea", "price": "4.50"})
        assert placed.json() == {"id": 1}
        await listening.gets_changes(1)
        latest = (await http.get("/latest")).json()
    assert latest == ["tea for 4.50"]
