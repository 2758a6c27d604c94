"""The README's six lines, verbatim: what it says to do first, then each language by its runtime.

A language whose runtime this machine lacks is not run; the last test says which, and insists on those
that every machine has.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from domain.identifier import SEND_PREFIX, key_of
from models.team import default_team_id
from settings import Settings, load
from starter.api_keys import KeyWish, create_key
from starter.templates import publish
from tests.builders import scalar
from tests.scenario import Scenario, wait_until
from tests.web_process import ROOT, WebProcess

MakeScenario = Callable[..., Scenario]

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.S)


@dataclass(frozen=True, kw_only=True)
class Language:
    """One of the four: how the README marks it, its file, and what runs it."""

    mark: str
    suffix: str
    runtime: str

    @property
    def file(self) -> Path:
        return ROOT / "docs" / "examples" / f"six_lines.{self.suffix}"


LANGUAGES = (
    Language(mark="sh", suffix="sh", runtime="curl"),
    Language(mark="python", suffix="py", runtime="python3"),
    Language(mark="js", suffix="mjs", runtime="node"),
    Language(mark="csharp", suffix="cs", runtime="dotnet"),
)
FOUND = [language for language in LANGUAGES if shutil.which(language.runtime)]


def section(title: str) -> str:
    """The README's text below a heading, up to the next heading of its rank or a higher one."""
    rank = len(title) - len(title.lstrip("#"))
    _, _, rest = README.partition(f"\n{title}\n")
    return re.split(rf"\n#{{1,{rank}}} ", rest)[0]


BLOCKS = BLOCK.findall(section("### Six lines"))
FIRST = BLOCKS[0][1]
"""Topic and member, by curl."""
SIX = dict(BLOCKS[1:])


def a_key(engine: Engine, settings: Settings) -> str:
    """With the scopes that the README's command names."""
    scopes = re.findall(r"--scope ([a-z:]+)", section("## Over HTTP"))
    secret = settings.api_secret.get_secret_value().encode()
    with engine.begin() as connection:
        team = default_team_id(connection)
        return create_key(connection, secret, team, KeyWish(name="shop", scopes=scopes)).text


def run(language: Language, source: str, folder: Path, environment: dict[str, str]) -> str:
    """What the program prints, which stands alone in its folder."""
    file = folder / f"program.{language.suffix}"
    file.write_text(source, encoding="utf-8")
    commands = {
        "sh": ["bash", "-eu", str(file)],
        "py": ["python3", "-I", str(file)],
        "mjs": ["node", str(file)],
        "cs": ["dotnet", "run", "--project", str(folder)],
    }
    if language.suffix == "cs":
        _console_project(folder)
    done = subprocess.run(
        commands[language.suffix],
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _console_project(folder: Path) -> None:
    version = subprocess.check_output(["dotnet", "--version"], text=True)
    (folder / "six.csproj").write_text(
        '<Project Sdk="Microsoft.NET.Sdk"><PropertyGroup><OutputType>Exe</OutputType>'
        f"<TargetFramework>net{version.split('.')[0]}.0</TargetFramework>"
        "<ImplicitUsings>enable</ImplicitUsings><Nullable>enable</Nullable>"
        "</PropertyGroup></Project>"
    )


def environment_of(web: WebProcess, key: str) -> dict[str, str]:
    return {**os.environ, "URL": web.url, "KEY": key, "NO_PROXY": "127.0.0.1"}


def prepare(engine: Engine, settings: Settings, web: WebProcess, folder: Path) -> dict[str, str]:
    """What the README does before the six lines; the environment of a program."""
    publish(engine, ROOT / "examples" / "order-shipped")
    web.start()
    environment = environment_of(web, a_key(engine, settings))
    first, second = [json.loads(said) for said in _answers(FIRST, folder, environment)]
    assert first["key"] == "orders"
    assert second["subscriptions"][0]["state"] == "subscribed"
    return environment


def _answers(script: str, folder: Path, environment: dict[str, str]) -> list[str]:
    printed = run(LANGUAGES[0], script, folder, environment)
    return printed.replace("}{", "}\n{").splitlines()


@pytest.fixture
def web(engine: Engine, tmp_path: Path) -> Iterator[WebProcess]:
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with WebProcess(url, tmp_path) as made:
        yield made


def test_the_readme_says_what_the_examples_are() -> None:
    assert list(SIX) == [language.mark for language in LANGUAGES]
    for language in LANGUAGES:
        source = language.file.read_text(encoding="utf-8")
        assert SIX[language.mark] == source
        assert len([line for line in source.splitlines() if line]) <= 6


@pytest.mark.parametrize("language", FOUND, ids=[language.suffix for language in FOUND])
def test_six_lines_tell_those_who_joined(
    language: Language, engine: Engine, web: WebProcess, tmp_path: Path
) -> None:
    environment = prepare(engine, load(_env_file=None), web, tmp_path)

    printed = run(language, SIX[language.mark], tmp_path, environment)

    answer: dict[str, Any] = json.loads(printed)
    send_id = key_of(SEND_PREFIX, answer["send"])
    assert (answer["topic"], answer["key"], answer["messages"]) == ("orders", "order-A-17", 1)
    assert scalar(engine, "SELECT data FROM topic_event") == {"order": "A-17"}
    assert scalar(engine, "SELECT send_id FROM outbox") == send_id
    assert (
        scalar(
            engine,
            "SELECT c.address FROM message m JOIN contact_point c USING (recipient_id)",
        )
        == "ada@example.org"
    )


def test_in_every_language_it_is_the_same_event_and_its_message_arrives_once(
    make_scenario: MakeScenario, tmp_path: Path
) -> None:
    made = make_scenario()
    url = made.settings.database_url
    with WebProcess(url, tmp_path, os.environ | made.stack.environment()) as web:
        environment = prepare(made.engine, made.settings, web, tmp_path)
        made.workers.start("single", "transactional,upkeep")

        printed = [run(each, SIX[each.mark], tmp_path, environment) for each in FOUND]
        wait_until(lambda: made.value("SELECT closed_at FROM send"), 30)

    answers = [json.loads(each) for each in printed]
    assert all(answer == answers[0] for answer in answers)
    assert made.value("SELECT count(*) FROM send") == 1
    (received,) = made.simulator.received(key_of(SEND_PREFIX, answers[0]["send"]))
    assert received["to"] == "ada@example.org"
    assert "A-17" in received["subject"]


def test_what_every_machine_has_is_run() -> None:
    missing = [language.runtime for language in LANGUAGES if language not in FOUND]
    print(f"six lines not run here, for want of: {', '.join(missing) or 'nothing'}")

    assert {"curl", "python3"} <= {language.runtime for language in FOUND}
