"""The example 04-slack, as it stands; the test plays Slack."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from fix_node import Node, NodeFactory, clean_environment, free_port
from pgcast.devdb.template import Database
from receiver import SECRET, Receiver

EXAMPLE = Path(__file__).parents[3] / "examples/04-slack"


def texts(slack: Receiver) -> list[str]:
    return [json.loads(post.body)["text"] for post in slack.accepted]


def run_receiver(slack: Receiver, port: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLE / "receiver.py")],
        env={
            **clean_environment(),
            "SLACK_WEBHOOK_URL": slack.url(),
            "PGCAST_WEBHOOK_SECRET": SECRET,
            "RECEIVER_PORT": str(port),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == f"waiting for purchases on port {port}\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def metrics_of(node: Node) -> str:
    with urllib.request.urlopen(f"{node.http_url}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def test_every_purchase_is_told_once_also_when_slack_or_the_receiver_was_down(
    database: Database, start_node: NodeFactory, tmp_path: Path
):
    database.execute((EXAMPLE / "init.sql").read_text())
    port = free_port()
    file = tmp_path / "configuration.json"
    file.write_text((EXAMPLE / "configuration.json").read_text().replace(":8000/", f":{port}/"))
    with Receiver() as slack:
        receiver = run_receiver(slack, port)
        try:
            node = start_node(
                database.dsn,
                CONFIGURATION_FILE=str(file),
                PGCAST_STATE_DIR=str(tmp_path / "state"),
                PGCAST_WEBHOOK_SECRET=SECRET,
                PGCAST_WEBHOOK_ALLOW="127.0.0.1",
            )
            database.execute("insert into purchases (customer, product, price) values ('Mei', 'tea', 5), ('X', 'y', 4)")
            slack.wait_for(1)

            slack.answer = lambda number, _post: 503 if number < 3 else 200
            database.execute("insert into purchases (customer, product, price) values ('Jonas', 'a bicycle', 420)")
            slack.wait_for(2)
            # Killed before it has answered, the receiver would rightly get the delivery again.
            while 'pgcast_webhook_waiting{endpoint="slack"} 0.0' not in metrics_of(node):
                time.sleep(0.02)

            end(receiver)
            database.execute("insert into purchases (customer, product, price) values ('Amara', 'a hat', 30)")
            while "a webhook cannot be delivered" not in node.log():
                time.sleep(0.02)
            receiver = run_receiver(slack, port)
            slack.wait_for(3)
        finally:
            end(receiver)
        time.sleep(0.1)
    assert texts(slack) == [
        "Mei bought tea for 5.00",
        "Jonas bought a bicycle for 420.00",
        "Amara bought a hat for 30.00",
    ]


def test_a_forged_delivery_is_refused():
    port = free_port()
    with Receiver() as slack:
        receiver = run_receiver(slack, port)
        try:
            headers = {
                "webhook-id": "msg_1",
                "webhook-timestamp": str(int(time.time())),
                "webhook-signature": "v1,AAAA",
            }
            request = urllib.request.Request(f"http://127.0.0.1:{port}/", b'{"changes":[]}', headers)
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=5)
            assert caught.value.code == 401
            caught.value.close()
        finally:
            end(receiver)
        assert slack.posts == []
