from __future__ import annotations

from pgcast.model.lsn import NO_LSN, Lsn
from pgcast.postgres.replication import start_replication_command


def test_the_names_of_publications_are_identifiers_inside_one_literal():
    command = start_replication_command("pgcast", Lsn(0x1_0000_00FF), ["plain", 'a "b"', "it's"], 130_000)
    assert command == (
        'START_REPLICATION SLOT "pgcast" LOGICAL 1/FF'
        " (proto_version '1', publication_names"
        ' \'"plain","a ""b""","it\'\'s"\')'
    )


def test_no_place_is_written_as_zero():
    assert '"s" LOGICAL 0/0 (' in start_replication_command("s", NO_LSN, ["p"], 180_000)


def test_logical_messages_are_asked_for_where_pgoutput_has_them():
    assert start_replication_command("s", NO_LSN, ["p"], 140_000).endswith(""" '"p"', messages 'true')""")
    assert "messages" not in start_replication_command("s", NO_LSN, ["p"], 139_999)
