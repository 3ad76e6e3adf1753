"""`pgcast webhooks` beside a running server: what was set aside is listed, shown, replayed and dropped."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fix_webhooks import MakeHooks
from pgcast.cli import app
from pgcast.devdb.template import Database
from pgcast.webhooks.folder import make_folder, spool_path
from pgcast.webhooks.spool import Draft, Spool
from receiver import Receiver


def run(state: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the command in this process: a dozen of them."""
    done = CliRunner().invoke(app, ["webhooks", *arguments], env={"PGCAST_STATE_DIR": str(state)})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def ran(state: Path, *arguments: str) -> str:
    code, out, err = run(state, *arguments)
    assert (code, err) == (0, ""), (code, out, err)
    return out


def test_what_was_set_aside_can_be_listed_shown_replayed_and_dropped(published: Database, make_hooks: MakeHooks):
    with Receiver(lambda _number, _post: 500) as receiver:
        hooks = make_hooks(
            published, {"config": {"endpoint": receiver.url()}, "name": "mine"}, PGCAST_WEBHOOK_DEADLINE_S="0"
        )
        for number in (1, 2, 3):
            published.execute(f"insert into todos values ({number}, 'milk')")
        hooks.wait_for_metric("pgcast_webhook_dead_letters", "mine", 3)
        assert "a delivery is set aside" in hooks.node.log()
        ids = list(dict.fromkeys(post.id for post in receiver.posts))

        listed = ran(hooks.state, "list").splitlines()
        assert listed[0].split() == ["endpoint", "waiting", "oldest", "set", "aside", "lost", "changes", "MB"]
        assert listed[1].split() == ["mine", "0", "3", "0", "0.0"]

        dead = ran(hooks.state, "dead").splitlines()
        assert [line.split()[0] for line in dead[1:]] == ids
        assert all("mine" in line and "answered 500 Internal Server Error" in line for line in dead[1:])

        shown = ran(hooks.state, "show", ids[0])
        facts, _, body = shown.partition("\n\n")
        assert "endpoint: mine" in " ".join(facts.split())
        assert json.loads(body)["changes"][0]["record"] == {"id": 1, "title": "milk", "done": False}

        receiver.answer = lambda _number, _post: 204
        assert ran(hooks.state, "drop", ids[1]) == "1 delivery\n"
        assert ran(hooks.state, "replay", ids[2]).startswith("1 delivery\n")
        assert receiver.wait_for(1)[0].id == ids[2]
        assert ran(hooks.state, "replay", "--all", "--endpoint", "mine").startswith("1 delivery\n")
        assert receiver.wait_for(2)[1].id == ids[0]
        time.sleep(0.1)
        assert ran(hooks.state, "dead") == "nothing\n"
        assert ran(hooks.state, "drop", "--all") == "0 deliveries\n"


def test_a_delivery_that_keeps_others_waiting_can_be_dropped(published: Database, make_hooks: MakeHooks):
    with Receiver(lambda _number, post: (422, {"Retry-After": "60"}) if post.row_ids == [1] else 204) as receiver:
        hooks = make_hooks(published, {"config": {"endpoint": receiver.url()}, "name": "mine"})
        published.execute("insert into todos values (1)")
        published.execute("insert into todos values (2)")
        (poison,) = receiver.wait_for_posts(1)
        assert ran(hooks.state, "drop", poison.id) == "1 delivery\n"
        assert receiver.wait_for(1)[0].row_ids == [2]


@pytest.mark.parametrize("arguments", [["replay"], ["drop"], ["drop", "msg_1", "--all"]])
def test_which_deliveries_has_to_be_said(arguments: list[str], tmp_path: Path):
    code, _, err = run(tmp_path, *arguments)
    assert (code, err.splitlines()[0]) == (2, "pgcast: say which deliveries: their ids, or --all")


def test_what_is_not_there_is_named(published: Database, make_hooks: MakeHooks, tmp_path: Path):
    code, _, err = run(tmp_path / "elsewhere", "list")
    assert (code, err.splitlines()[0]) == (
        2,
        f"pgcast: no webhook has delivered anything from {tmp_path}/elsewhere/webhooks",
    )
    with Receiver() as receiver:
        hooks = make_hooks(published, {"config": {"endpoint": receiver.url()}, "name": "mine"})
        published.execute("insert into todos values (1)")
        receiver.wait_for(1)
        for arguments, code, says in (
            (["show", "msg_1"], 1, "no delivery 'msg_1'"),
            (["drop", "msg_1", "msg_2"], 1, "0 of 2 found"),
            (["dead", "--endpoint", "theirs"], 2, "no endpoint 'theirs'"),
        ):
            found = run(hooks.state, *arguments)
            assert (found[0], found[2].splitlines()[0]) == (code, f"pgcast: {says}")
        damaged = hooks.state / "webhooks" / "0.sqlite"
        damaged.write_bytes(b"no database at all" * 100)
        code, out, err = run(hooks.state, "list")
        assert code == 0
        assert "mine" in out
        assert err == f"pgcast: {damaged} cannot be read: file is not a database\n"


def test_what_is_in_square_brackets_is_shown(tmp_path: Path):
    make_folder(tmp_path / "webhooks")
    spool = Spool(spool_path(tmp_path / "webhooks", "0123456789abcdef"), 1 << 20)
    spool.set_label("http://[fd00::1]:8080#012345")
    spool.append([Draft("msg_1", "a", "a", 1, b"{}")], 0.0, dead_because="[/red] said [it]")
    spool.close()
    assert "http://[fd00::1]:8080#012345 " in ran(tmp_path, "list")
    assert ran(tmp_path, "dead").rstrip().endswith("[/red] said [it]")
