"""schemathesis over the whole OpenAPI document: every check, every phase, chains of requests too.

Nothing here names a route: one that is added is covered by being in the document. What its bodies
may name to be accepted (a template, a recipient) is in KNOWN.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import schemathesis
from pydantic import SecretStr
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder
from sqlalchemy import Engine

from models.team import default_team_id
from settings import load
from starter.api_keys import KeyWish, create_key
from tests.requests import a_shop
from web.api import access
from web.api.idempotency import REPLAYED
from web.site import create_site

KNOWN: dict[str, tuple[str, list[str | int | float]]] = {
    "template": ("body.template", ["order-shipped"]),
    "templates": ("body.messages[*].template", ["order-shipped"]),
    "recipient": ("body.to", ["person-1", "person-2", "new@example.org"]),
    "recipients": ("body.messages[*].to", ["person-1", "person-2", "new@example.org"]),
    "priority": ("body.priority", ["critical", "high", "normal", "low"]),
}
"""Where a body names something that there is, and what there is."""

WHOLE_NUMBER = "Input should be a valid integer"

KEY_STAYS_GOOD = """
CREATE FUNCTION stay_good() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.revoked_at = NULL; NEW.expires_at = NULL; RETURN NEW; END $$;
CREATE TRIGGER stay_good BEFORE UPDATE ON api_key
FOR EACH ROW WHEN (OLD.name = 'asks') EXECUTE FUNCTION stay_good();
"""
"""Among the requests are some that revoke the key that asks."""


@dataclass
class Tally:
    """What came of a run."""

    phases: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    """2xx by operation."""
    failures: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def cases(self) -> int:
        return self.phases.total()

    def add(self, phase: str, recorder: ScenarioRecorder) -> None:
        is_replay = False
        for case_id, interaction in recorder.interactions.items():
            self.phases[phase] += 1
            node, response = recorder.cases.get(case_id), interaction.response
            if node is None or response is None:
                continue
            is_replay = is_replay or REPLAYED.lower() in response.headers
            if response.status_code < 300:
                self.accepted[node.value.operation.label] += 1
        for checks in recorder.checks.values():
            for check in checks:
                # An answer that is given again may name what was deleted since.
                if is_replay and check.name == "ensure_resource_availability":
                    continue
                if check.failure_info is not None:
                    failure = check.failure_info.failure
                    said = f"{failure.title}: {failure.message}\n{check.failure_info.code_sample}"
                    self.failures.setdefault((check.name, failure.operation or ""), said)


@schemathesis.check
def what_the_schema_allows_is_understood(
    ctx: Any, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """A body that fits its schema may name what is not there, but never be of the wrong shape."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code < 400:
        return
    problem = response.json()
    kind = problem["type"].removeprefix("urn:carillon:problem:")
    # 5.0 is an integer to JSON Schema; here it is refused, with a sentence that says so.
    said = [one for one in problem.get("errors", []) if one["detail"] != WHOLE_NUMBER]
    is_misread = kind == "invalid" and said
    assert not is_misread and kind != "unsupported-media-type", problem


@pytest.fixture
def run(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Runs `max_examples` of this seed for each operation and phase against the site on the test's database."""
    monkeypatch.setattr(access, "WRONG_KEYS_PER_SECOND", 1e6)
    settings = load(
        _env_file=None,
        api_rate_per_key=1e6,
        api_rate_per_team=1e6,
        webhook_secret=SecretStr("secret"),
    )
    secret = settings.api_secret.get_secret_value().encode()
    a_shop(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(KEY_STAYS_GOOD)
        wish = KeyWish(name="asks", scopes=["admin"], is_test=False)
        key = create_key(connection, secret, default_team_id(connection), wish)
    site = create_site(engine, settings)

    def run(max_examples: int, seed: int) -> Tally:
        config = SchemathesisConfig.from_dict(_config(key.text, max_examples, seed))
        schema = schemathesis.openapi.from_asgi("/v1/openapi.json", site, config=config)
        tally = Tally()
        for event in from_schema(schema).execute():
            if isinstance(event, events.ScenarioFinished):
                tally.add(event.phase.value, event.recorder)
            elif isinstance(event, events.FatalError):
                raise event.exception
            elif isinstance(event, events.NonFatalError):
                tally.failures["error", event.label] = str(event.value)
        return tally

    yield run


def _config(key: str, max_examples: int, seed: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "headers": {"Authorization": f"Bearer {key}"},
        "continue-on-failure": True,
        "dictionaries": {name: {"values": values} for name, (_, values) in KNOWN.items()},
        "parameters": {
            where: {"dictionary": name, "probability": 0.7} for name, (where, _) in KNOWN.items()
        },
        "generation": {
            "max-examples": max_examples,
            "no-shrink": True,
            "database": "none",
        },
        "suppress-health-check": ["all"],
        "checks": {
            # Which 4xx: `what_the_schema_allows_is_understood` is narrower.
            "positive_data_acceptance": {"expected-statuses": ["2xx", "4xx"]},
            "negative_data_rejection": {"expected-statuses": ["4xx"]},
        },
    }


@pytest.mark.parametrize(
    ("max_examples", "seed"),
    [
        pytest.param(10, 1, id="some"),
        # Others each time, for what nobody thought of; the number is printed.
        pytest.param(100, random.getrandbits(32), id="more", marks=pytest.mark.chaos),
    ],
)
def test_no_request_breaks_the_api_or_its_schema(run: Any, max_examples: int, seed: int) -> None:
    tally = run(max_examples, seed)

    print(
        f"\nseed {seed}: {tally.cases} cases: {dict(tally.phases)}\naccepted: {dict(tally.accepted)}"
    )
    assert not tally.failures, "\n\n".join(
        f"{check} {operation}: {said}" for (check, operation), said in tally.failures.items()
    )
    assert tally.cases >= 3000
    assert tally.phases["stateful"] > 0
