import pytest

from pgcast.postgres.findings import Finding, Severity, error, info, ok, warning


def test_all_is_well_needs_nothing():
    assert ok("wal_level", "logical") == Finding("wal_level", is_ok=True, severity=Severity.INFO, message="logical")


@pytest.mark.parametrize(
    ("make", "severity"), [(error, Severity.ERROR), (warning, Severity.WARNING), (info, Severity.INFO)]
)
def test_what_is_found_keeps_its_remedy(make: object, severity: Severity):
    found = make("slot", "busy", sql="SELECT 1;", hint="wait")  # type: ignore[operator]
    assert (found.is_ok, found.severity, found.sql, found.hint) == (False, severity, "SELECT 1;", "wait")
