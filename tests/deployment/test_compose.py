"""docker-compose.yml and the image, as far as they can be proven without Docker: what they name
exists, and every command of ours does its work, is found healthy and stops."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import create_engine, make_url, text

import settings as settings_module
from models.database import connect
from models.schema import require_head
from settings import PREFIX, Settings
from stack.development import DevelopmentStack
from stack.ports import free_ports
from stack.temporal_cli import find_temporal
from workflows.contract import SEARCH_ATTRIBUTES

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SH = shutil.which("sh") or "/bin/sh"
IMAGE_PORTS = ("8600", "8610", "8611", "8612", "9464")

REQUIRED = {"POSTGRES_PASSWORD": "secret-1", "TEMPORAL_POSTGRES_PASSWORD": "secret-2"}
SIMULATED = {**REQUIRED, "COMPOSE_PROFILES": "simulator"}

_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<how>[-?+])(?P<other>[^}]*))?\}")
_OURS = re.compile(rf"\b{PREFIX}[A-Z_]+\b")


def interpolated(source: str, variables: Mapping[str, str]) -> str:
    """`source` as Docker Compose reads it: ${NAME}, ${NAME:-other}, ${NAME:?why}, ${NAME:+other}."""

    def value(found: re.Match[str]) -> str:
        given, how, other = variables.get(found["name"], ""), found["how"], found["other"] or ""
        if how == "+":
            return other if given else ""
        if how == "?":
            assert given, f"{found['name']} is required: {other}"
        return given or other

    return _VARIABLE.sub(value, source)


def services(**variables: str) -> dict[str, Any]:
    """The services of docker-compose.yml, by name."""
    parsed = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))["services"]
    given = {**SIMULATED, **variables}
    found: dict[str, Any] = _each_text(parsed, lambda source: interpolated(source, given))
    return found


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """The YAML value with every text in it changed."""
    match value:
        case str():
            return change(value)
        case list():
            return [_each_text(item, change) for item in value]
        case dict():
            return {key: _each_text(item, change) for key, item in value.items()}
        case _:
            return value


SERVICES = services()
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


# -- what the files name exists


def test_every_variable_of_ours_is_a_setting() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    known |= {name + "_FILE" for name in known}
    # Read by worker.py itself, for whoever supervises it.
    assert "CARILLON_READY_FILE" in (ROOT / "worker.py").read_text(encoding="utf-8")
    known.add("CARILLON_READY_FILE")
    files = [COMPOSE_FILE, ROOT / "Dockerfile", ROOT / "tests/compose_smoke.sh"]
    files += [path for path in (ROOT / "docker").rglob("*") if path.is_file()]

    used = {name for path in files for name in _OURS.findall(path.read_text(encoding="utf-8"))}

    assert used - known == set()
    assert len(used) > 15


def test_images_are_pinned() -> None:
    images = {service["image"] for service in SERVICES.values()}
    images |= set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))

    assert [image for image in images if not re.fullmatch(r"[\w./-]+:\d[\w.-]*", image)] == []


def test_our_image_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert {service["image"] for service in OURS.values()} == {f"carillon:{project['version']}"}


def test_nothing_is_published_beyond_this_machine() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]

    assert len(published) == 3
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in published), published


def test_what_a_service_depends_on_exists_and_can_come_true() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            needed = SERVICES[other]
            match how["condition"]:
                case "service_healthy":
                    assert "healthcheck" in needed, f"{name} waits for the health of {other}"
                case "service_completed_successfully":
                    assert needed["restart"] == "on-failure:5", f"{name} waits for {other} to end"
                case unknown:
                    raise AssertionError(f"{name} depends on {other} by {unknown}")


def test_every_service_that_stays_is_restarted_and_limited() -> None:
    staying = {name: s for name, s in SERVICES.items() if s["restart"] == "unless-stopped"}

    assert set(SERVICES) - set(staying) == {
        "temporal-schema",
        "temporal-namespace",
        "migrate",
        "cli",
    }
    assert all("memory" in s["deploy"]["resources"]["limits"] for s in staying.values())
    assert all("max-size" in s["logging"]["options"] for s in SERVICES.values())


def test_our_services_may_do_little() -> None:
    for service in OURS.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_passwords_must_be_given() -> None:
    with pytest.raises(AssertionError, match="POSTGRES_PASSWORD is required"):
        services(POSTGRES_PASSWORD="")


def test_the_simulators_accounts_are_there_only_with_its_profile() -> None:
    without = services(COMPOSE_PROFILES="")["worker-campaign"]["environment"]

    assert without["CARILLON_SIMULATOR_SENDGRID_URL"] == ""
    assert SERVICES["web"]["environment"]["CARILLON_SIMULATOR_SMTP_URL"] == "smtp://simulator:8612"


def test_the_namespace_gets_the_search_attributes_of_the_contract() -> None:
    given = SERVICES["temporal-namespace"]["environment"]["SEARCH_ATTRIBUTES"]

    assert given.split() == [attribute.name for attribute in SEARCH_ATTRIBUTES]


def test_scripts_that_are_mounted_exist_and_are_valid_shell() -> None:
    scripts = [*(ROOT / "docker").rglob("*.sh"), ROOT / "tests/compose_smoke.sh"]
    commands = [s["command"][0] for s in SERVICES.values() if s.get("entrypoint") == ["/bin/sh"]]

    for script in scripts:
        subprocess.run([SH, "-n", str(script)], check=True)
    assert commands
    assert all((ROOT / command.removeprefix("/")).is_file() for command in commands)


def test_the_image_holds_our_packages_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    ours = project["tool"]["setuptools"]
    wanted = {package.split(".")[0] for package in ours["packages"]}
    wanted |= {module + ".py" for module in ours["py-modules"]}

    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}

    assert rules[0] == "*"
    assert let_in == wanted | {"requirements.lock", "pyproject.toml"}
    assert all((ROOT / name).exists() for name in let_in)


def test_the_image_is_built_from_the_lock_without_development_tools() -> None:
    assert "--require-hashes -r /requirements.lock" in DOCKERFILE
    assert "requirements-dev" not in DOCKERFILE
    assert re.search(r"^USER carillon$", DOCKERFILE, re.MULTILINE)
    assert DOCKERFILE.index("USER carillon") < DOCKERFILE.index("ENTRYPOINT")


def test_the_smoke_test_says_clearly_when_docker_is_missing(tmp_path: Path) -> None:
    ended = subprocess.run(
        [SH, str(ROOT / "tests/compose_smoke.sh")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "Docker" in ended.stderr


# -- every command of ours, run here


@pytest.fixture(scope="module")
def temporal(run_dir: Path) -> Iterator[DevelopmentStack]:
    """A Temporal server with our search attributes."""
    settings = settings_module.load(data_dir=run_dir / "compose", _env_file=None)
    names = [attribute.name for attribute in SEARCH_ATTRIBUTES]
    with DevelopmentStack(
        settings, parts={"temporal"}, free_ports=True, search_attributes=names
    ) as made:
        yield made


@pytest.fixture
def empty_database(postgres_url: str) -> Iterator[str]:
    """URL of a database without any schema."""
    server = make_url(postgres_url)
    admin = create_engine(server.set(database="postgres"), isolation_level="AUTOCOMMIT")
    name = f"compose_{os.getpid()}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


class Container:
    """A service's command line and health check, in the environment it has in the image, here."""

    def __init__(
        self, name: str, folder: Path, *, database_url: str = "", temporal_address: str = ""
    ) -> None:
        given = services(
            CARILLON_DATABASE_URL=database_url, CARILLON_TEMPORAL_ADDRESS=temporal_address
        )
        ports = map(str, free_ports(len(IMAGE_PORTS)))
        elsewhere = {
            **dict(zip(IMAGE_PORTS, ports, strict=True)),
            "0.0.0.0": "127.0.0.1",
            "//simulator:": "//127.0.0.1:",
            "/tmp/": f"{folder}/tmp/",
            "/data": f"{folder}/data",
        }
        (folder / "tmp").mkdir(exist_ok=True)
        self._service = _each_text(given[name], lambda given: _replaced(given, elsewhere))
        self._folder = folder
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            **_image_environment(),
            "PYTHONPATH": str(ROOT),
            **self._service["environment"],
        }
        self.log = folder / "log"

    @property
    def command(self) -> list[str]:
        """The command line, with the image's entrypoint where the service has none of its own."""
        entrypoint = self._service.get("entrypoint") or _image_entrypoint()
        return _with_our_python([*entrypoint, *self._service.get("command", ())])

    def start(self) -> subprocess.Popen[bytes]:
        # Started elsewhere than in the checkout, so that neither a `.env` nor the current folder helps.
        with self.log.open("wb") as log:
            return subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def is_healthy(self) -> bool:
        """Whether the service's own health check says so."""
        how, *test = self._service["healthcheck"]["test"]
        assert how == "CMD"
        command = _with_our_python(test)
        return not subprocess.run(command, env=self.environment, capture_output=True).returncode


def _replaced(whole: str, replacements: Mapping[str, str]) -> str:
    """In one pass: what was put in is not looked at again."""
    any_of = "|".join(map(re.escape, replacements))
    return re.sub(any_of, lambda found: replacements[found[0]], whole)


def _image_entrypoint() -> list[str]:
    found = re.search(r"^ENTRYPOINT (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert found
    entrypoint: list[str] = json.loads(found[1])
    return entrypoint


def _image_environment() -> dict[str, str]:
    """The last stage's ENV, without its PATH."""
    last = DOCKERFILE.rsplit("\nFROM ", 1)[1].replace("\\\n", " ")
    pairs = [
        pair.partition("=")[::2]
        for line in re.findall(r"^ENV (.*)$", last, re.MULTILINE)
        for pair in shlex.split(line)
    ]
    return {name: value for name, value in pairs if name != "PATH"}


def _with_our_python(command: list[str]) -> list[str]:
    return [sys.executable if part == "python" else part for part in command]


def _ends(process: subprocess.Popen[bytes], container: Container, seconds: float = 45) -> int:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"it did not end:\n{container.log.read_text()}") from None


def test_migrate_brings_an_empty_database_to_head_and_can_be_repeated(
    empty_database: str, tmp_path: Path
) -> None:
    container = Container("migrate", tmp_path, database_url=empty_database)

    codes = [_ends(container.start(), container), _ends(container.start(), container)]

    assert codes == [0, 0], container.log.read_text()
    engine = connect(empty_database)
    require_head(engine)
    engine.dispose()


def test_the_command_line_runs_in_the_image(tmp_path: Path) -> None:
    container = Container("cli", tmp_path)

    assert _ends(container.start(), container) == 0
    assert "campaign" in container.log.read_text(encoding="utf-8")


STAYING = [name for name, service in OURS.items() if "healthcheck" in service]


@pytest.mark.parametrize("name", STAYING)
def test_a_service_becomes_healthy_and_stops_when_asked(
    name: str, temporal: DevelopmentStack, make_database: Callable[[], str], tmp_path: Path
) -> None:
    container = Container(
        name,
        tmp_path,
        database_url=make_database(),
        temporal_address=temporal.settings().temporal_address,
    )
    assert not container.is_healthy()

    process = container.start()
    end = time.monotonic() + 30
    while not container.is_healthy():
        assert process.poll() is None, container.log.read_text()
        assert time.monotonic() < end, container.log.read_text()
        time.sleep(0.1)
    process.terminate()
    code = _ends(process, container)

    # uvicorn stops in order, then raises the signal again; Docker reports that as 143.
    allowed = {0, -signal.SIGTERM} if name == "web" else {0}
    assert code in allowed, container.log.read_text()
    assert "Traceback" not in container.log.read_text(encoding="utf-8")


def test_all_services_that_stay_were_run() -> None:
    assert set(STAYING) == {
        "worker-orchestration",
        "worker-transactional",
        "worker-campaign",
        "web",
        "simulator",
    }


def test_the_namespace_script_can_be_repeated(temporal: DevelopmentStack, tmp_path: Path) -> None:
    found = find_temporal(temporal.settings())
    assert found is not None
    (tmp_path / "temporal").symlink_to(found.path)
    environment = {
        **SERVICES["temporal-namespace"]["environment"],
        "TEMPORAL_ADDRESS": temporal.settings().temporal_address,
        "NAMESPACE": "made-by-the-script",
        "HOME": str(tmp_path),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    script = [SH, str(ROOT / "docker/temporal/namespace.sh")]

    for _ in range(2):
        subprocess.run(script, env=environment, capture_output=True, check=True)

    listed = subprocess.run(
        ["temporal", "operator", "search-attribute", "list", "-n", "made-by-the-script"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert all(re.search(rf"\b{key.name}\s+Keyword", listed) for key in SEARCH_ATTRIBUTES), listed
