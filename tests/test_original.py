"""What the original server offered, row by row, and the test that shows that it is here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgcast.settings import IGNORED, variables

ROOT = Path(__file__).parents[1]

Test = tuple[str, str]

APP, SETTINGS = "tests/unit/test_app.py", "tests/unit/test_settings.py"
LIVE, TOPICS = "tests/integration/test_original_settings.py", "tests/integration/test_original_topics.py"
HANDSHAKE, OLD_CLIENT = "tests/integration/test_handshake.py", "tests/clients/test_legacy_javascript.py"
VALUES, TOKENS = "tests/clients/test_values.py", "tests/integration/test_tokens.py"
DELIVERY, HOOKS = (f"tests/integration/webhooks/test_{name}.py" for name in ("delivery", "configuration"))
RESTARTS, SLOT, SLOW = (f"tests/faults/test_{name}.py" for name in ("restarts", "slot", "slow_readers"))

PARTS = (APP, "test_the_database_is_what_the_parts_say")

# What a setting's text means, and that it is in force.
ITS_SETTINGS: dict[str, Test | list[Test]] = {
    **dict.fromkeys(["DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASSWORD"], PARTS),
    "DB_SSL": [PARTS, (SETTINGS, "test_tls_is_the_original_server_s_boolean_or_a_mode_of_libpq")],
    "DB_IP_VERSION": (LIVE, "test_only_addresses_of_the_family_are_tried_for_the_database"),
    "PORT": ("tests/integration/test_serve_errors.py", "test_a_port_that_is_taken"),
    "REALTIME_IP_VERSION": (LIVE, "test_the_family_listened_on_is_the_one_that_was_asked_for"),
    "HOSTNAME": (LIVE, "test_the_hostname_is_announced_and_not_listened_on"),
    "SLOT_NAME": [
        (LIVE, "test_the_slot_is_the_one_that_was_named"),
        (SETTINGS, "test_a_slot_name_is_lower_cased_and_checked"),
    ],
    "TEMPORARY_SLOT": (LIVE, "test_a_temporary_slot_goes_with_its_server_and_who_comes_back_is_told"),
    "PUBLICATIONS": (LIVE, "test_several_publications_are_followed"),
    "MAX_REPLICATION_LAG_MB": (SLOT, "test_over_the_limit_the_window_is_given_up_first"),
    "SECURE_CHANNELS": [
        (LIVE, "test_without_secure_channels_nobody_needs_a_token"),
        (SETTINGS, "test_a_token_is_needed_where_a_secret_is_configured"),
    ],
    "JWT_SECRET": [
        (HANDSHAKE, "test_a_valid_token_gets_in"),
        (HANDSHAKE, "test_a_bad_token_is_refused_with_the_known_words"),
    ],
    "JWT_CLAIM_VALIDATORS": [
        ("tests/unit/auth/test_jwt.py", "test_an_absent_claim_is_refused"),
        (TOKENS, "test_a_bad_token_at_the_handshake_is_refused"),
    ],
    "EXPOSE_METRICS": (HANDSHAKE, "test_metrics_are_served_on_loopback_and_where_it_was_said"),
    "MAX_RECORD_BYTES": (
        "tests/integration/test_changes.py",
        "test_a_change_over_the_limit_comes_shortened_to_everybody",
    ),
    "CONFIGURATION_FILE": (DELIVERY, "test_a_transaction_is_one_post_with_its_matching_changes"),
    "WEBHOOK_HEADERS": (DELIVERY, "test_headers_are_those_of_the_settings_and_of_the_standard"),
    "MAX_CONNECTIONS": (HANDSHAKE, "test_connections_have_a_limit"),
    **dict.fromkeys(IGNORED, (LIVE, "test_variables_without_effect_are_said_in_one_line_and_their_values_are_not")),
    **dict.fromkeys(
        ["DB_RECONNECT_BACKOFF_MIN", "DB_RECONNECT_BACKOFF_MAX"], (APP, "test_the_waits_before_reconnecting_are_told")
    ),
    **dict.fromkeys(["DB_PASSWORD_FILE", "JWT_SECRET_FILE"], (LIVE, "test_a_secret_is_read_from_its_file")),
}

ITS_TOPICS_AND_PAYLOADS: dict[str, Test | list[Test]] = {
    "the four kinds of topics, one frame for each": (OLD_CLIENT, "test_each_kind_of_topic_gets_what_it_names"),
    "any topic is joined": (
        TOPICS,
        "test_a_topic_that_never_gets_anything_is_answered_ok_and_one_of_another_prefix_is_not",
    ),
    "a value as Postgres prints it": (TOPICS, "test_a_value_is_compared_as_postgres_prints_it"),
    "no value for null": (TOPICS, "test_null_is_equal_to_no_value"),
    "new row of an update, old row of a delete": (
        TOPICS,
        "test_an_update_is_of_its_new_row_and_a_delete_of_its_old_one",
    ),
    "long values": (TOPICS, "test_values_longer_than_a_hundred_characters_are_found_too"),
    "names with colons": (TOPICS, "test_names_with_colons_are_those_of_the_catalog"),
    "a silent socket": ("tests/integration/test_bad_frames.py", "test_a_silent_client_is_closed_with_1012"),
    "keys of the payload": [
        (OLD_CLIENT, "test_insert_update_and_delete_arrive_with_their_values"),
        (TOPICS, "test_a_truncate_has_no_row_and_a_delete_all_columns_of_which_the_key_is_known"),
    ],
    "columns": (TOPICS, "test_columns_are_told_with_their_real_types"),
    "old_record": [
        (TOPICS, "test_the_old_row_of_an_update_is_its_key_and_under_full_all_of_it"),
        (TOPICS, "test_a_truncate_has_no_row_and_a_delete_all_columns_of_which_the_key_is_known"),
    ],
    "typed values": (VALUES, "test_an_application_gets_the_value"),
    "values as text": [
        (TOPICS, "test_values_as_text_are_those_of_the_original_without_its_mistakes"),
        (VALUES, "test_the_oldest_client_makes_the_same_of_text_where_it_can"),
    ],
    "the token in `token`": (LIVE, "test_a_token_may_stand_in_the_parameter_of_the_first_servers"),
    "the token in a header": (HANDSHAKE, "test_the_header_wins_over_the_parameter"),
}

ITS_CONFIGURATION: dict[str, Test | list[Test]] = {
    "webhooks": (DELIVERY, "test_a_transaction_is_one_post_with_its_matching_changes"),
    "event and relation": [
        ("tests/unit/test_configuration.py", "test_a_relation_is_a_schema_and_a_table"),
        ("tests/unit/test_configuration.py", "test_a_webhook_has_the_defaults_of_the_original"),
        (HOOKS, "test_a_changed_filter_and_a_new_webhook_count_from_the_reload_on"),
    ],
    "a missing endpoint": (HOOKS, "test_a_server_does_not_start_with_a_webhook_that_it_cannot_serve"),
    "realtime": (HOOKS, "test_only_the_oldest_topics_that_the_file_names_are_served"),
}

ITS_FAULTS: dict[str, Test | list[Test]] = {
    "killed, temporary slot": (LIVE, "test_a_temporary_slot_goes_with_its_server_and_who_comes_back_is_told"),
    "killed, durable slot": (RESTARTS, "test_a_killed_server_loses_nothing_for_those_who_resume"),
    "Postgres restarted": (RESTARTS, "test_a_restarted_postgres_loses_nothing_and_the_server_stays_up"),
    "publication made anew": (SLOT, "test_a_publication_that_was_away_is_a_gap_that_is_told"),
    "two publications": (LIVE, "test_several_publications_are_followed"),
    "quiet database": (SLOT, "test_a_quiet_database_does_not_pin_what_its_neighbours_write"),
    "a value of 20 MB": (LIVE, "test_a_value_of_twenty_megabytes_is_delivered"),
    "a client stops reading": (SLOW, "test_one_of_fifty_stops_reading"),
    "an endpoint hangs": ("tests/faults/test_webhooks.py", "test_an_endpoint_that_hangs_holds_up_no_client_and_no_wal"),
    "a million rows": (
        "tests/faults/test_large_transactions.py",
        "test_a_million_rows_arrive_while_they_are_read_and_nobody_waits_for_them",
    ),
}


def named_by(rows: dict[str, Test | list[Test]]) -> Iterator[Test]:
    """The tests of all rows; most have one."""
    for one in rows.values():
        yield from one if isinstance(one, list) else [one]


ALL = (ITS_SETTINGS, ITS_TOPICS_AND_PAYLOADS, ITS_CONFIGURATION, ITS_FAULTS)


@pytest.mark.parametrize(("path", "test"), sorted({test for rows in ALL for test in named_by(rows)}))
def test_every_row_has_its_test(path: str, test: str):
    assert re.search(rf"^(async )?def {test}\(", (ROOT / path).read_text(), re.MULTILINE)


def test_every_setting_of_the_original_is_one_of_ours_or_without_effect():
    assert ITS_SETTINGS.keys() <= variables() | IGNORED.keys()
