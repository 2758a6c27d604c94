"""The threats that concern what exists, each with the tests that stand against it.

The table is checked: a test that is renamed or deleted makes its row fail.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

import settings as settings_module
from models.database import DatabaseUnreachable, connect, reach
from starter.rejects import as_text_cell
from starter.stored_accounts import KnownAccounts, NewAccount, add_account
from tests.builders import scalar

TESTS = Path(__file__).parents[1]
KEYS = "one:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

ROWS: dict[str, tuple[str, ...]] = {
    "template injection": (
        "domain/test_template_language.py::test_the_language_refuses_with_part_line_and_reason",
        "domain/test_template_render.py::test_python_attributes_are_out_of_reach",
        "end_to_end/test_api_injection.py::test_header_template_and_ssrf_injection_through_the_api",
    ),
    "template bomb": (
        "domain/test_template_render.py::test_bombs_end_quickly",
        "domain/test_template_render.py::test_a_message_longer_than_a_megabyte_fails_in_both_forms",
    ),
    "recipient data injects HTML": (
        "domain/test_template_render.py::test_html_is_escaped_and_subject_and_text_are_not",
        "domain/test_template_render.py::test_no_expression_gets_round_the_escaping",
        "domain/test_template_links.py::"
        "test_threat_4_a_value_that_begins_a_link_with_another_scheme_is_refused",
        "domain/test_template_property.py::test_threat_4_no_value_begins_a_link_that_runs_something",
    ),
    "header injection": (
        "domain/test_template_render.py::test_a_control_character_in_the_subject_is_refused",
        "domain/test_template_render.py::test_a_line_separator_in_the_subject_is_refused",
        "providers/test_provider_headers.py::test_control_characters_are_refused_wherever_they_stand",
        "providers/test_mime.py::test_nothing_adds_a_header",
        "web/api/test_frame.py::test_threat_5_a_request_id_cannot_break_into_the_headers",
        "end_to_end/test_api_injection.py::test_header_template_and_ssrf_injection_through_the_api",
    ),
    "SMTP smuggling and command injection": (
        "providers/test_smtp_session.py::test_address_that_would_break_the_envelope_is_refused",
        "providers/test_smtp_handshake.py::test_words_slipped_in_behind_starttls_are_not_believed",
        "providers/test_mime.py::test_both_bodies_come_back",
    ),
    "SSRF": (
        "domain/test_webhook_address.py::test_an_address_that_is_not_anybodys_is_not_public",
        "providers/test_webhook_guard.py::test_a_trick_url_is_refused_and_connects_to_nothing",
        "providers/test_webhook_guard.py::test_a_name_that_leads_inside_is_refused",
        "providers/test_webhook_guard.py::test_no_proxy_of_the_environment_is_asked",
        "end_to_end/test_api_injection.py::test_header_template_and_ssrf_injection_through_the_api",
    ),
    "DNS rebinding": (
        "providers/test_webhook_guard.py::"
        "test_a_name_that_rebinds_between_two_messages_is_refused_the_second_time",
        "providers/test_webhook_guard.py::"
        "test_the_question_names_the_very_address_that_is_connected_to",
    ),
    "redirect to an internal address": (
        "providers/test_webhook_guard.py::test_a_redirect_inside_is_not_followed",
        "providers/test_http_transport.py::test_environment_proxies_and_redirects_are_not_followed",
    ),
    "slow or huge answer": (
        "providers/test_webhook_contract.py::"
        "test_an_endless_answer_is_given_up_and_its_status_counts",
        "providers/test_webhook_contract.py::test_only_the_deadline_of_15_seconds_or_less_is_waited",
        "providers/test_smtp_session.py::test_endless_reply_is_cut_off",
    ),
    "forged unsubscribe": (
        "web/test_unsubscribe_token.py::test_a_token_with_any_byte_changed_is_refused",
    ),
    "link scanner unsubscribes": (
        "web/test_unsubscribe_page.py::test_opening_the_link_changes_nothing",
    ),
    "clickjacking, sniffing, referrer": (
        "web/test_unsubscribe_page.py::test_pages_leak_nothing_and_cannot_be_framed",
    ),
    "XSS through preview": (
        "simulator/test_inbox_page.py::"
        "test_a_messages_html_is_in_a_sandboxed_frame_under_a_strict_policy",
        "simulator/test_inbox_page.py::test_a_hostile_subject_and_body_stay_text",
    ),
    "CSV injection on export": (
        "starter/test_import_rejects.py::test_a_cell_is_never_a_formula",
        "starter/test_recipients_import.py::test_rejected_cells_are_no_formulas",
        "security/test_rows_of_the_threat_model.py::test_csv_injection_on_export",
    ),
    "CSV bomb and encoding tricks": (
        "starter/test_import_csv_reading.py::test_nul_and_cells_that_are_too_long_cost_their_rows",
        "starter/test_import_csv_reading.py::"
        "test_a_file_without_line_ends_is_refused_before_it_fills_the_memory",
        "starter/test_import_csv_reading.py::test_a_record_that_never_ends_is_given_up",
        "starter/test_import_csv_reading.py::"
        "test_bytes_that_are_no_text_are_refused_with_line_and_byte",
    ),
    "personal data and secrets in Temporal, logs and rows": (
        "end_to_end/test_stored_accounts.py::"
        "test_running_workers_take_up_a_stored_account_and_its_secret_is_seen_nowhere",
        "providers/test_provider_headers.py::test_operators_sentence_holds_no_address",
        "security/test_rows_of_the_threat_model.py::test_secrets_in_errors_of_the_database",
    ),
    "open Temporal port": (
        "deployment/test_production.py::test_what_is_for_development_is_refused_with_one_sentence",
        "deployment/test_tls.py::test_temporal_is_reached_over_tls_with_its_certificate_checked",
    ),
    "provider secrets at rest": (
        "starter/test_stored_accounts.py::test_the_row_holds_nothing_in_clear_text",
        "starter/test_stored_accounts.py::test_credentials_moved_to_another_row_do_not_open",
        "starter/test_stored_accounts.py::test_an_altered_row_does_not_open",
        "starter/test_stored_accounts.py::"
        "test_rotation_encrypts_with_the_first_key_and_changes_no_session",
        "web/api/test_account_credentials.py::"
        "test_threat_32_credentials_are_given_over_http_and_never_read_back",
    ),
    "tenant isolation": (
        "security/test_rows_of_the_threat_model.py::test_tenant_isolation_of_credentials",
        "web/api/test_other_teams.py::test_threat_33_an_id_of_another_team_is_not_found",
        "web/api/test_messages.py::test_threat_33_what_belongs_to_another_team_is_not_found",
    ),
    "enumeration": (
        "web/test_unsubscribe_page.py::"
        "test_a_token_nobody_signed_and_one_of_a_message_that_is_gone_look_the_same",
        "web/test_unsubscribe_page.py::test_unsubscribing_twice_looks_the_same",
        "web/test_joining_pages.py::test_every_address_and_topic_is_answered_alike",
        "web/api/test_other_teams.py::test_threat_33_an_id_of_another_team_is_not_found",
    ),
    "subscription bombing": (
        "web/test_joining_pages.py::"
        "test_nobody_s_mailbox_is_flooded_however_many_topics_and_callers",
        "web/test_joining_pages.py::test_one_caller_cannot_write_to_many",
        "web/test_joining_pages.py::"
        "test_a_machine_that_fills_in_all_fields_is_answered_and_not_obeyed",
    ),
    "brute force of keys": (
        "web/api/test_frame.py::test_threat_20_wrong_keys_from_one_address_are_slowed_down",
        "web/api/test_api_keys.py::test_a_key_with_another_secret_part_or_another_mode_is_wrong",
    ),
    "API key theft": (
        "web/api/test_api_keys.py::"
        "test_threat_19_a_key_is_shown_once_and_only_its_keyed_hash_is_stored",
        "web/api/test_api_keys.py::test_nobody_makes_or_takes_a_key_that_may_more_than_their_own",
        "web/api/test_test_keys.py::"
        "test_a_test_key_reads_and_changes_nothing_that_real_sending_depends_on",
    ),
    "oversized and malformed bodies": (
        "web/api/test_frame.py::test_malformed_bodies_are_refused_and_break_nothing",
        "web/api/test_frame.py::"
        "test_a_body_that_is_too_large_is_refused_with_and_without_its_length",
        "web/api/test_frame.py::test_nothing_is_taken_for_another_type",
        "web/api/test_whole_openapi.py::test_no_request_breaks_the_api_or_its_schema",
        "web/test_joining_pages.py::test_a_malformed_or_oversized_body_changes_nothing",
    ),
    "rate-limit bypass": (
        "web/api/test_frame.py::test_threat_37_a_key_that_asks_too_often_is_told_when_to_ask_again",
    ),
    "duplicate sends": (
        "models/test_requests.py::test_twenty_at_once_with_one_key_have_one_effect",
        "web/api/test_storm_of_equals.py::"
        "test_fifty_equal_requests_through_kills_have_one_effect_and_one_answer",
        "end_to_end/test_two_drivers.py::test_the_second_driver_of_a_batch_is_sent_away",
    ),
    "lost, late and repeated events": (
        "models/test_events.py::test_an_event_told_five_times_is_kept_once",
        "models/test_events.py::test_whatever_comes_in_whatever_order_ends_as_the_model_says",
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_row_names_tests_that_there_are(row: str) -> None:
    missing = []
    for named in ROWS[row]:
        path, _, name = named.partition("::")
        source = (TESTS / path).read_text(encoding="utf-8")
        if not re.search(rf"^(async )?def {name}\(", source, re.MULTILINE):
            missing.append(named)

    assert missing == []


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_csv_injection_on_export(start: str) -> None:
    assert as_text_cell(f"{start}cmd|' /C calc'!A0").startswith(f"'{start}")
    assert as_text_cell(f"plain {start}") == f"plain {start}"


def test_tenant_isolation_of_credentials(engine: Engine) -> None:
    settings = settings_module.load(
        _env_file=None, credential_keys=KEYS, smtp_url="smtp://of-the-settings.example"
    )
    with engine.begin() as connection:
        other = connection.execute(
            text("INSERT INTO team (key, name) VALUES ('other', 'Other') RETURNING id")
        ).scalar_one()
        new = NewAccount(
            key="smtp", provider="smtp", credentials={"smtp_url": "smtp://of-the-other.example"}
        )
        add_account(connection, settings, other, new, actor="operator")
        connection.execute(
            text(
                "INSERT INTO provider_account (team_id, key, provider, channel, is_real)"
                " SELECT id, 'smtp', 'smtp', 'email', true FROM team WHERE key = 'default'"
            )
        )
        found = KnownAccounts(settings).read(connection)

    hosts = {
        scalar(
            engine,
            "SELECT t.key FROM provider_account a JOIN team t ON t.id = a.team_id WHERE a.id = :id",
            {"id": account_id},
        ): known.config.config.host
        for account_id, known in found.items()
    }
    assert hosts == {"default": "of-the-settings.example", "other": "of-the-other.example"}


def test_secrets_in_errors_of_the_database() -> None:
    password = SecretStr("never-to-be-seen")
    url = f"postgresql+psycopg2://carillon:{password.get_secret_value()}@127.0.0.1:1/carillon"

    with pytest.raises(DatabaseUnreachable) as refused:
        reach(connect(url))

    assert password.get_secret_value() not in str(refused.value)
