"""Workflow files import nothing into the sandbox that they did not mean to pass through."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from temporalio import workflow

from composition import workflow_runner
from workflows.request_send import RequestSend
from workflows.run_campaign import RunCampaign
from workflows.run_digests import RunDigests
from workflows.send_shard import SendShard
from workflows.upkeep import Upkeep


@pytest.mark.parametrize("ours", [RunCampaign, SendShard, RequestSend, RunDigests, Upkeep])
async def test_our_workflows_load_in_the_sandbox_that_raises_on_unintended_imports(
    ours: type,
) -> None:
    workflow_runner().prepare_workflow(workflow._Definition.must_from_class(ours))


UNINTENDED = """
import asyncio
from temporalio import workflow
import sqlalchemy

@workflow.defn
class Careless:
    @workflow.run
    async def run(self) -> None: ...
"""


def test_a_workflow_that_imports_without_meaning_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "careless.py").write_text(UNINTENDED)
    script = (
        "import asyncio\n"
        "from composition import workflow_runner\n"
        "from temporalio import workflow\n"
        "from careless import Careless\n"
        "async def load():\n"
        "    workflow_runner().prepare_workflow(workflow._Definition.must_from_class(Careless))\n"
        "asyncio.run(load())\n"
    )

    said = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.returncode != 0
    assert "sqlalchemy" in said.stderr
