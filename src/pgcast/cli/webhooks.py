"""`pgcast webhooks`: look into the spools of the endpoints, replay what was set aside, and delete.

Works whether the server runs or not: both open the same files.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgcast.cli.errors import report_errors
from pgcast.model.errors import PgcastError, SettingsError
from pgcast.settings import read_settings
from pgcast.webhooks.folder import spool_files
from pgcast.webhooks.spool import Spool, SpoolDamaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pgcast.webhooks.spool import Delivery

webhooks = typer.Typer(
    help="Look at the webhooks' deliveries; replay or delete those that were set aside.",
    no_args_is_help=True,
    add_completion=False,
)

_Ids = Annotated[list[str] | None, typer.Argument(help="The deliveries' ids.", show_default=False)]
_All = Annotated[bool, typer.Option("--all", help="All that were set aside, instead of ids.")]
_Endpoint = Annotated[
    str | None, typer.Option("--endpoint", help="Only of this endpoint, as `list` names it.", show_default=False)
]
_MB = 1 << 20
_WIDE = 1000


@webhooks.command("list")
def list_endpoints() -> None:
    """List the endpoints: what waits, what was set aside, what was lost."""
    table = _table("endpoint", "waiting", "oldest", "set aside", "lost changes", "MB")
    with report_errors():
        for spool in _spools():
            status = spool.status()
            size_mb = (status.waiting_bytes + status.dead_bytes) / _MB
            oldest = "" if status.oldest_s is None else _ago(status.oldest_s)
            lost = str(status.lost)
            if status.lost:
                lost += f" ({status.lost_positions[0]} to {status.lost_positions[1]})"
            _add(table, status.label, str(status.waiting), oldest, str(status.dead), lost, f"{size_mb:.1f}")
    _print(table)


@webhooks.command("dead")
def list_dead(endpoint: _Endpoint = None) -> None:
    """List the deliveries that were set aside, the oldest first."""
    table = _table("id", "endpoint", "changes", "first position", "set aside", "attempts", "reason")
    with report_errors():
        for spool in _spools(endpoint):
            label = spool.status().label
            for one in spool.list(is_dead=True):
                _add(
                    table,
                    one.draft.id,
                    label,
                    str(one.draft.changes),
                    one.draft.first_position,
                    _moment(one.died_s),
                    str(one.attempts),
                    one.reason,
                )
    _print(table)


@webhooks.command("show")
def show(identifier: Annotated[str, typer.Argument(metavar="ID", help="The delivery's id.")]) -> None:
    """Show one delivery, waiting or set aside, with its body."""
    with report_errors():
        label, found = _find(identifier)
        facts = {
            "id": identifier,
            "endpoint": label,
            "state": "waits" if found.died_s is None else f"set aside {_moment(found.died_s)}",
            "positions": f"{found.draft.first_position} to {found.draft.last_position}",
            "attempts": str(found.attempts),
            "reason": found.reason or "none",
        }
        for name, value in facts.items():
            typer.echo(f"{name + ':':<11}{value}")
        typer.echo("")
        typer.echo(found.draft.body)


@webhooks.command("replay")
def replay(ids: _Ids = None, *, everything: _All = False, endpoint: _Endpoint = None) -> None:
    """Have deliveries that were set aside tried again, before all that is newer; their deadline begins anew."""
    with report_errors():
        now_s = time.time()
        _on_chosen(ids, endpoint, lambda spool, chosen: spool.replay(chosen, now_s), everything=everything)
        typer.echo("the server tries them within seconds, once it runs")


@webhooks.command("drop")
def drop(ids: _Ids = None, *, everything: _All = False, endpoint: _Endpoint = None) -> None:
    """Delete deliveries for good; by id also one that waits, and keeps those behind it waiting."""
    with report_errors():
        _on_chosen(ids, endpoint, lambda spool, chosen: spool.drop(chosen), everything=everything)


def _on_chosen(
    ids: list[str] | None, endpoint: str | None, do: Callable[[Spool, list[str] | None], int], *, everything: bool
) -> None:
    if bool(ids) == everything:
        raise SettingsError("say which deliveries: their ids, or --all", hint="pgcast webhooks dead lists them")
    count = sum(do(spool, ids or None) for spool in _spools(endpoint))
    if ids and count < len(set(ids)):
        raise PgcastError(
            f"{count} of {len(set(ids))} found", hint="pgcast webhooks dead lists those that were set aside"
        )
    typer.echo(f"{count} {'delivery' if count == 1 else 'deliveries'}")


def _find(identifier: str) -> tuple[str, Delivery]:
    for spool in _spools():
        found = spool.find(identifier)
        if found is not None:
            return spool.status().label, found
    raise PgcastError(f"no delivery {identifier[:80]!r}", hint="pgcast webhooks dead lists those that were set aside")


def _spools(endpoint: str | None = None) -> Iterator[Spool]:
    """Open the spools one after the other; one that cannot be read is named, and does not keep from the others.

    Raises:
        SettingsError: There are none, or none of this endpoint.
    """
    settings = read_settings()
    folder = settings.webhook_folder
    labels = []
    for path in spool_files(folder):
        with _opened(path, settings.webhook_spool_mb * _MB) as spool:
            if spool is None:
                continue
            label = spool.status().label
            labels.append(label)
            if endpoint in {None, label}:
                yield spool
    if not labels:
        raise SettingsError(
            f"no webhook has delivered anything from {folder}",
            hint="PGCAST_STATE_DIR, or else SLOT_NAME, must be the server's",
        )
    if endpoint is not None and endpoint not in labels:
        raise SettingsError(f"no endpoint {endpoint[:80]!r}", hint=f"there are: {', '.join(labels)}")


@contextmanager
def _opened(path: Path, limit_bytes: int) -> Iterator[Spool | None]:
    try:
        spool = Spool(path, limit_bytes, must_exist=True)
    except (sqlite3.Error, SpoolDamaged) as error:
        typer.echo(f"pgcast: {path} cannot be read: {error}", err=True)
        yield None
        return
    try:
        yield spool
    except sqlite3.Error as error:
        raise PgcastError(f"{path} cannot be used: {error}") from None
    finally:
        spool.close()


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in {"id", "waiting", "oldest"})
    return table


def _add(table: Table, *cells: str) -> None:
    table.add_row(*map(Text, cells))  # text, not markup: an address of IPv6 has square brackets


def _print(table: Table) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDE)  # for programs: one line each
    console.print(table if table.row_count else Text("nothing"))


def _moment(at_s: float | None) -> str:
    return "" if at_s is None else datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ago(at_s: float) -> str:
    seconds = max(int(time.time() - at_s), 0)
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
