"""`carillon campaign …` on bad input: one clear sentence, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.builders import people, scalar

EXAMPLE = Path(__file__).parents[2] / "examples" / "newsletter"

Run = Callable[..., tuple[int, Any]]


@pytest.fixture(autouse=True)
def _no_temporal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARILLON_TEMPORAL_ADDRESS", "127.0.0.1:1")


def create(
    run: Run, *more: str, topic: str = "newsletter", template: str = "plain"
) -> tuple[int, Any]:
    return run("campaign", "create", "--name", "N", "--topic", topic, "--template", template, *more)


@pytest.fixture
def ready(run: Run, engine: Engine, tmp_path: Path) -> Run:
    """With ten subscribers and the templates `plain`, `asking` and `nobodys`."""
    with engine.begin() as connection:
        people(connection, 10)
    for key, sender, subject in (
        ("plain", "Shop <shop@example.com>", "Hello {{ first_name }}"),
        ("asking", "Shop <shop@example.com>", "Your code {{ coupon }}"),
        ("nobodys", "", "Hello"),
    ):
        folder = tmp_path / key
        folder.mkdir()
        (folder / "template.toml").write_text(f'key = "{key}"\nname = "N"\nfrom = "{sender}"\n')
        (folder / "subject.txt").write_text(subject)
        (folder / "body.txt").write_text("Text {{ unsubscribe_url }}")
        assert run("template", "publish", str(folder))[0] == 0
    return run


def test_a_draft_is_reported_with_its_id(ready: Run) -> None:
    code, made = create(ready, "--rate", "400/s", "--on-unknown", "resend")

    assert code == 0
    assert made["id"].startswith("snd_")
    assert (made["state"], made["rate"], made["on_unknown"]) == ("draft", 400.0, "resend")
    assert (made["messages"], made["owed"], made["balanced"]) == (0, 0, True)


def test_without_a_name_the_first_account_of_its_channel_is_taken(ready: Run) -> None:
    """`in_app` is real and always there, but no letter goes that way."""
    _, made = create(ready)

    assert made["account"] == "simulator"


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"topic": "weather"}, "There is no topic 'weather'"),
        ({"template": "absent"}, "absent"),
        ({"template": "plain@7"}, "no version 7"),
        ({"template": "asking"}, "asks for coupon"),
        ({"template": "nobodys"}, "names no sender"),
    ],
)
def test_what_cannot_be_sent_is_refused_at_create(
    ready: Run, engine: Engine, more: dict[str, str], sentence: str
) -> None:
    code, said = create(ready, **more)

    assert code == 1
    assert sentence in said["error"]
    assert scalar(engine, "SELECT count(*) FROM send") == 0


@pytest.fixture
def texts(ready: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """With a template that has a text for SMS, and the simulator's account for them."""
    monkeypatch.setenv("CARILLON_SIMULATOR_TWILIO_URL", "http://127.0.0.1:1")
    folder = tmp_path / "texting"
    folder.mkdir()
    (folder / "template.toml").write_text('key = "texting"\nname = "N"\n')
    (folder / "sms.txt").write_text("Hello {{ first_name }} {{ unsubscribe_url }}")
    assert ready("template", "publish", str(folder))[0] == 0
    return ready


def test_a_campaign_goes_by_text_message_where_it_is_told_to(texts: Run, engine: Engine) -> None:
    code, made = create(texts, "--channel", "sms", template="texting")

    assert (code, made["channel"], made["account"]) == (0, "sms", "simulator-sms")
    assert scalar(engine, "SELECT sender FROM send") == {}
    code, said = texts("campaign", "start", made["id"])
    assert (code, "Nobody is subscribed" in said["error"]) == (1, True), "by SMS nobody is"


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--channel", "sms", "--template", "plain"], "says nothing for sms; it has: email."),
        (["--channel", "email", "--template", "texting"], "says nothing for email"),
        (["--channel", "webhook", "--template", "texting"], "goes by email or sms, not by webhook"),
        (
            ["--channel", "sms", "--template", "texting", "--account", "simulator"],
            "The account 'simulator' sends by email, not by sms.",
        ),
    ],
)
def test_a_channel_that_does_not_fit_is_refused(
    texts: Run, engine: Engine, more: list[str], sentence: str
) -> None:
    code, said = texts("campaign", "create", "--name", "N", "--topic", "newsletter", *more)

    assert (code, sentence in said["error"]) == (1, True), said
    assert scalar(engine, "SELECT count(*) FROM send") == 0


@pytest.mark.parametrize(
    ("word", "stored"), [("critical", 0), ("high", 1), ("medium", 2), ("low", 3)]
)
def test_a_campaign_has_the_priority_that_it_is_given(
    ready: Run, engine: Engine, word: str, stored: int
) -> None:
    _, made = create(ready, "--priority", word)

    assert made["priority"] == ("normal" if word == "medium" else word)
    assert scalar(engine, "SELECT priority FROM send") == stored


def test_without_a_word_the_priority_is_normal(ready: Run) -> None:
    assert create(ready)[1]["priority"] == "normal"


def test_an_unknown_priority_is_refused(ready: Run, engine: Engine) -> None:
    code, said = create(ready, "--priority", "urgent")

    assert (code, "There is no priority 'urgent'" in said["error"]) == (2, True)
    assert scalar(engine, "SELECT count(*) FROM send") == 0


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "0/s"])
def test_a_rate_must_be_above_zero(ready: Run, rate: str) -> None:
    code, said = create(ready, f"--rate={rate}")

    assert (code, "above 0" in said["error"]) == (1, True)


def test_an_account_that_is_not_there_is_told_with_those_that_are(ready: Run) -> None:
    code, said = create(ready, "--account", "postal")

    assert code == 1
    assert "simulator" in said["error"]


def test_marketing_on_a_real_account_needs_a_public_url(
    ready: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARILLON_SENDGRID_API_KEY", "SG.x.y")

    code, said = create(ready)

    assert code == 1
    assert "CARILLON_PUBLIC_URL" in said["error"]


def test_a_default_sender_serves_templates_that_name_none(
    ready: Run, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARILLON_DEFAULT_FROM", "Shop <shop@example.com>")

    assert create(ready, template="nobodys")[0] == 0
    assert scalar(engine, "SELECT sender->>'address' FROM send") == "shop@example.com"


def test_an_empty_audience_is_refused_at_the_start(ready: Run, engine: Engine) -> None:
    _, made = create(ready)
    with engine.begin() as connection:
        connection.execute(text("UPDATE subscription SET state = 'left'"))

    code, said = ready("campaign", "start", made["id"])

    assert code == 1
    assert "Nobody is subscribed" in said["error"]
    assert scalar(engine, "SELECT state FROM send") == "draft"


def test_a_start_without_temporal_changes_nothing(ready: Run, engine: Engine) -> None:
    _, made = create(ready)

    code, said = ready("campaign", "start", made["id"])

    assert code == 1
    assert said["error"] == "Temporal at 127.0.0.1:1 does not answer."
    assert scalar(engine, "SELECT state FROM send") == "draft"


def test_a_second_start_is_refused(ready: Run, engine: Engine) -> None:
    _, made = create(ready)
    with engine.begin() as connection:
        connection.execute(text("UPDATE send SET state = 'running', started_at = now()"))

    code, said = ready("campaign", "start", made["id"])

    assert code == 1
    assert "started before" in said["error"]


def test_a_pause_is_committed_though_temporal_is_away(ready: Run, engine: Engine) -> None:
    _, made = create(ready)
    with engine.begin() as connection:
        connection.execute(text("UPDATE send SET state = 'running', started_at = now()"))

    code, said = ready("campaign", "pause", made["id"])

    assert (code, said["changed"]) == (0, True)
    assert scalar(engine, "SELECT state FROM send") == "paused"


def test_a_draft_cannot_be_paused_and_a_cancelled_one_not_resumed(ready: Run) -> None:
    _, made = create(ready)
    paused = ready("campaign", "pause", made["id"])
    cancelled = ready("campaign", "cancel", made["id"])

    resumed = ready("campaign", "resume", made["id"])

    assert paused[0] == resumed[0] == 1
    assert cancelled[0] == 0
    assert "cannot become" in resumed[1]["error"]


@pytest.mark.parametrize("campaign_id", ["snd_0000000000000", "42", "snd_x"])
def test_an_id_that_is_no_campaigns_is_told_so(ready: Run, campaign_id: str) -> None:
    code, said = ready("campaign", "report", campaign_id)

    assert code == 1
    assert campaign_id in said["error"]


def test_resolving_needs_one_choice(ready: Run, capsys: pytest.CaptureFixture[str]) -> None:
    _, made = create(ready)

    assert ready("campaign", "resolve", made["id"])[0] == 2
    assert ready("campaign", "resolve", made["id"], "--leave")[1]["changed"] == 0


def test_campaigns_are_listed_newest_first(ready: Run) -> None:
    ids = [create(ready)[1]["id"] for _ in range(2)]

    _, listed = ready("campaign", "list")

    assert [row["id"] for row in listed] == ids[::-1]
