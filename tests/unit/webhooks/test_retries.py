import pytest

from pgcast.webhooks.retries import LONGEST_RETRY_AFTER_S, retry_after_s

NOW_S = 1_795_517_625.5  # Tue, 24 Nov 2026 10:53:45 GMT


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        (None, 0),
        ("", 0),
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("Tue, 24 Nov 2026 10:53:55 GMT", 9.5),
        ("Tue, 24 Nov 2026 10:53:55 -0000", 9.5),
        ("Tuesday, 24-Nov-26 10:53:55 GMT", 9.5),
        ("Tue, 24 Nov 2026 10:53:00 GMT", 0),
        ("-7", 0),
        ("1.5", 0),
        ("soon", 0),
        ("\u0667", 0),
        ("Tue, 99 Nov 2026 10:53:55 GMT", 0),
        ("9" * 40, LONGEST_RETRY_AFTER_S),
        ("Tue, 24 Nov 2099 10:53:55 GMT", LONGEST_RETRY_AFTER_S),
    ],
)
def test_what_an_endpoint_asks_for_is_seconds_or_a_date_within_a_bound(header: str | None, wait_s: float):
    assert retry_after_s(header, NOW_S) == wait_s
