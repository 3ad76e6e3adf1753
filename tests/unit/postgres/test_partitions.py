from __future__ import annotations

from datetime import date, datetime, timedelta

from pgcast.postgres.partitions import Partition, bounds_of, create_statements, drop_statement, missing_days, outdated

TODAY = date(2026, 12, 31)


def day_of(day: date, *, name: str = "", days: int = 1) -> Partition:
    starts_at = datetime.fromisoformat(f"{day}")
    return Partition("realtime", name or f"messages_{day:%Y_%m_%d}", starts_at, starts_at + timedelta(days))


def test_the_days_around_today_are_missing_at_first():
    days = [date(2026, 12, 30), TODAY, date(2027, 1, 1), date(2027, 1, 2), date(2027, 1, 3)]
    assert missing_days([], TODAY) == days
    assert missing_days([day_of(day) for day in days], TODAY) == []
    assert missing_days([day_of(day) for day in days[:-1]], TODAY) == days[-1:]


def test_a_day_that_another_partition_covers_is_not_missing():
    month = day_of(date(2026, 12, 1), name="december", days=31)
    assert missing_days([month], TODAY) == [date(2027, 1, 1), date(2027, 1, 2), date(2027, 1, 3)]
    rest = Partition("realtime", "rest", None, None)
    assert len(missing_days([rest], TODAY)) == 5, "what holds the rest is no day's"


def test_only_partitions_that_hold_nothing_younger_are_outdated():
    now = datetime.fromisoformat("2026-12-31T12:00")
    existing = [day_of(TODAY - timedelta(days=ago)) for ago in range(6)]
    existing.append(Partition("realtime", "rest", None, None))
    found = outdated(existing, now, timedelta(hours=72))
    assert [partition.name for partition in found] == ["messages_2026_12_27", "messages_2026_12_26"]


def test_names_are_quoted_and_dates_plain():
    assert drop_statement(Partition("Odd", 'a"b', None, None)) == 'DROP TABLE IF EXISTS "Odd"."a""b";'
    create, secure, attach = create_statements(TODAY)
    assert create.startswith("CREATE TABLE IF NOT EXISTS realtime.messages_2026_12_31 (LIKE realtime.messages ")
    assert secure == "ALTER TABLE realtime.messages_2026_12_31 ENABLE ROW LEVEL SECURITY;"
    assert attach == (
        "ALTER TABLE realtime.messages ATTACH PARTITION realtime.messages_2026_12_31"
        " FOR VALUES FROM ('2026-12-31') TO ('2027-01-01');"
    )


def test_bounds_are_read_as_postgres_prints_them():
    day = "FOR VALUES FROM ('2026-11-24 00:00:00') TO ('2026-11-25 00:00:00')"
    assert bounds_of(day) == (datetime.fromisoformat("2026-11-24"), datetime.fromisoformat("2026-11-25"))
    all_time = Partition("realtime", "all", *bounds_of("FOR VALUES FROM (MINVALUE) TO (MAXVALUE)"))
    assert missing_days([all_time], TODAY) == []
    assert outdated([all_time], datetime.fromisoformat("2026-12-31"), timedelta(0)) == []
    assert (
        bounds_of("FOR VALUES FROM ('2026-11-24 00:00:00') TO ('infinity')")[1]
        == bounds_of("FOR VALUES FROM ('2026-11-24 00:00:00') TO (MAXVALUE)")[1]
    )
    assert bounds_of("DEFAULT") == bounds_of(None) == (None, None)
