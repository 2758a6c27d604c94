"""The commands of the CLI against a real database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

import settings as settings_module
from domain.identifier import SEND_PREFIX, public_id
from settings import Settings
from starter import cli, context
from tests.builders import Draft, a_running_campaign

EXAMPLE = Path(__file__).parents[2] / "examples" / "newsletter"

Run = Callable[..., tuple[int, Any]]


def test_topics_are_made_renamed_and_listed(run: Run) -> None:
    assert run("topic", "add", "news", "--name", "News")[0] == 0
    assert run("topic", "add", "news", "--name", "Gazette", "--opt-in", "explicit")[0] == 0

    _, listed = run("topic", "list")
    assert listed == {
        "topics": [
            {
                "key": "news",
                "name": "Gazette",
                "opt_in": "explicit",
                "over_cap": None,
                "subscribed": 0,
            }
        ]
    }


def test_a_topic_named_like_markup_is_shown_as_it_is(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run("topic", "add", "news", "--name", "[bold]News[/bold]")

    assert cli.run(["topic", "list"]) == 0
    assert "[bold]News[/bold]" in capsys.readouterr().out


def test_templates_are_published_and_listed(run: Run) -> None:
    code, published = run("template", "publish", str(EXAMPLE))

    assert code == 0
    assert published["template"].endswith("@1")
    _, listed = run("template", "list")
    assert [each["template"] for each in listed["templates"]] == [published["template"]]


def test_a_malformed_template_is_one_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "template.toml").write_text('key = "t"')
    (tmp_path / "subject.txt").write_text("Hello")
    (tmp_path / "body.txt").write_text("one\n{{ first_name.upper() }}")

    code, said = run("template", "publish", str(tmp_path))

    assert code == 1
    assert "body.txt line 2" in said["error"]


def test_a_preview_needs_no_database(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CARILLON_DATABASE_URL")
    data = tmp_path / "data.json"
    data.write_text('{"first_name": "Grace"}')

    code, made = run("template", "preview", str(EXAMPLE), "--data", str(data))

    assert code == 0
    assert "Grace" in made["subject"]
    page = Path(made["html_file"])
    assert "Grace" in page.read_text()
    page.unlink()


def simulator_of(run: Run) -> dict[str, Any]:
    """The account as `accounts list` has it."""
    (found,) = [a for a in run("accounts", "list")[1]["accounts"] if a["key"] == "simulator"]
    return dict(found)


def test_accounts_that_the_settings_name_are_listed(run: Run) -> None:
    _, listed = run("accounts", "list")

    found = {account["key"]: account for account in listed["accounts"]}
    assert set(found) == {"in_app", "simulator"}
    assert (found["simulator"]["is_real"], found["simulator"]["state"]) == (False, "up")
    assert (found["in_app"]["is_real"], found["in_app"]["channel"]) == (True, "in_app")


def test_a_paused_account_says_why_and_by_whom_until_it_is_resumed(run: Run) -> None:
    code, said = run("accounts", "pause", "simulator", "--reason", "complaints")
    assert (code, said["author"] != "") == (0, True)
    assert simulator_of(run)["hold_reasons"] == [f"complaints ({said['author']})"]

    assert run("accounts", "resume", "simulator")[0] == 0
    assert simulator_of(run)["hold_reasons"] == []


def test_resuming_an_account_does_not_need_temporal(
    run: Run, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL is the truth: campaigns that are not told look by themselves."""
    a_running_campaign(engine)
    run("accounts", "pause", "simulator", "--reason", "r")
    monkeypatch.setenv("CARILLON_TEMPORAL_ADDRESS", "127.0.0.1:1")

    code, said = run("accounts", "resume", "simulator")

    assert (code, said["campaigns"]) == (0, 1)
    assert simulator_of(run)["hold_reasons"] == []


def test_an_account_that_is_not_there_is_told_with_those_that_are(run: Run) -> None:
    code, said = run("accounts", "pause", "sendgird", "--reason", "r")

    assert code == 1
    assert "There is no account 'sendgird'. There are: in_app, simulator" in said["error"]


def test_an_account_that_is_not_reached_fails_its_test(run: Run) -> None:
    code, said = run("accounts", "test", "simulator")

    assert code == 1
    assert "Account simulator does not work" in said["error"]


def test_an_account_setting_that_cannot_work_is_one_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARILLON_SMTP_URL", "ftp://relay.example")

    code, said = run("accounts", "list")

    assert code == 1
    assert "provider account" in said["error"]


def test_an_audit_of_nothing_balances_and_of_an_unknown_campaign_fails(run: Run) -> None:
    assert run("audit") == (0, {"balanced": True, "campaigns": [], "caps": []})

    code, said = run("audit", "snd_0000000000001")
    assert (code, "There is no campaign" in said["error"]) == (1, True)
    code, said = run("audit", "nonsense")
    assert (code, "is not an id" in said["error"]) == (1, True)


def test_an_audit_names_what_does_not_balance(run: Run, engine: Engine) -> None:
    send_id = a_running_campaign(engine, Draft(people=2))
    with engine.begin() as connection:
        connection.execute(text("UPDATE batch SET counts = '{\"accepted\": 1}'"))

    code, said = run("audit")

    problems = ["its batches count 1 accepted, its deliveries are 0"]
    assert code == 1
    assert said["campaigns"] == [{"id": public_id(SEND_PREFIX, send_id), "problems": problems}]


def test_a_schema_that_is_behind_names_the_command_and_upgrade_mends_it(
    run: Run, engine: Engine
) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))

    code, said = run("topic", "list")
    assert (code, "carillon db upgrade" in said["error"]) == (1, True)

    assert run("db", "upgrade") == (0, {"upgraded": True})
    assert run("db", "upgrade")[0] == 0
    assert run("topic", "list")[0] == 0


@pytest.fixture
def running_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack that says where it is."""
    monkeypatch.chdir(tmp_path)
    addresses = {
        "CARILLON_DATABASE_URL": "postgresql+psycopg2://of-the-stack/x",
        "CARILLON_TEMPORAL_ADDRESS": "127.0.0.1:7",
        "CARILLON_WEB_PORT": "9999",
        "CARILLON_OF_A_LATER_VERSION": "x",
    }
    monkeypatch.setattr("stack.running.read_running_stack", lambda data_dir: addresses)


@pytest.mark.usefixtures("running_stack")
def test_a_running_stack_fills_in_what_the_environment_leaves_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CARILLON_TEMPORAL_ADDRESS", "mine:7233")
    monkeypatch.setenv("CARILLON_DATABASE_URL", "")

    settings = context.settings()

    assert settings.database_url == "postgresql+psycopg2://of-the-stack/x"
    assert settings.temporal_address == "mine:7233"
    assert settings.web_port == 9999


async def test_temporal_that_is_not_there_is_one_sentence() -> None:
    from starter.client import TemporalUnreachable

    with pytest.raises(TemporalUnreachable, match=r"127\.0\.0\.1:1 does not answer"):
        await context.temporal(_settings(temporal_address="127.0.0.1:1"))
    with pytest.raises(TemporalUnreachable, match="carillon up"):
        await context.temporal(_settings())


def test_the_example_environment_has_every_setting_as_a_comment_with_its_default() -> None:
    from starter.env_example import env_example

    made = env_example()

    assert all(line.startswith("#") for line in made.splitlines() if line)
    for name in Settings.model_fields:
        assert f"\n#CARILLON_{name.upper()}=" in made
    assert "#CARILLON_DATA_DIR=.carillon/data\n" in made
    assert "#CARILLON_LINK_SECRET=development-only\n" in made


def _settings(**given: str) -> Settings:
    return settings_module.load(_env_file=None, **given)
