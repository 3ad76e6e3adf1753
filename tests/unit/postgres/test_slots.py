from __future__ import annotations

import pytest

from pgcast.model.errors import SettingsError
from pgcast.postgres.slots import check_slot_name, drop_slot_sql


def test_names_that_postgres_takes_are_returned():
    assert check_slot_name("pgcast_2") == "pgcast_2"
    assert check_slot_name("a" * 63) == "a" * 63


@pytest.mark.parametrize("name", ["", "Upper", "with-dash", "a" * 64, "ä", "a\n", "drop'it"])
def test_names_that_postgres_would_refuse_or_cut_are_refused(name):
    with pytest.raises(SettingsError, match="SLOT_NAME") as caught:
        check_slot_name(name)
    assert "a-z, 0-9 and _" in caught.value.hint


def test_dropping_is_one_statement():
    assert drop_slot_sql("pgcast") == "SELECT pg_drop_replication_slot('pgcast');"
