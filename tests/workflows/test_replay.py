"""Recorded histories replay on today's code: a change that breaks running campaigns fails here.

Never record an old history again to get green; record new ones beside them
(`python -m tests.workflows.record_histories`).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from composition import workflow_runner
from workflows.deliver_webhooks import DeliverWebhooks
from workflows.request_send import RequestSend
from workflows.run_campaign import RunCampaign
from workflows.run_digests import RunDigests
from workflows.send_messages import SendMessages
from workflows.send_shard import SendShard
from workflows.upkeep import Upkeep

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


def test_a_normal_a_paused_a_retried_and_a_cancelled_campaign_are_recorded() -> None:
    names = {path.stem.split("-")[0] for path in HISTORIES}

    assert {"normal", "paused", "retried", "cancelled"} <= names


def test_messages_sent_at_once_and_after_a_wait_and_a_request_are_recorded() -> None:
    names = {path.stem.split("-")[0] for path in HISTORIES}

    assert {"messages", "messages_retried", "request"} <= names


def test_a_period_of_digests_is_recorded() -> None:
    assert "digests" in {path.stem.split("-")[0] for path in HISTORIES}


def test_an_endpoint_that_fails_first_is_recorded() -> None:
    assert "webhooks" in {path.stem.split("-")[0] for path in HISTORIES}


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    replayer = Replayer(
        workflows=[
            RunCampaign,
            SendShard,
            SendMessages,
            RequestSend,
            RunDigests,
            DeliverWebhooks,
            Upkeep,
        ],
        workflow_runner=workflow_runner(),
        data_converter=pydantic_data_converter,
    )
    recorded = json.loads(path.read_text())

    await replayer.replay_workflow(WorkflowHistory.from_json(recorded["id"], recorded["history"]))


async def test_a_history_that_does_not_fit_the_code_is_noticed() -> None:
    replayer = Replayer(
        workflows=[RunCampaign, SendShard],
        workflow_runner=workflow_runner(),
        data_converter=pydantic_data_converter,
    )

    path = next(p for p in HISTORIES if p.stem.endswith("campaign"))
    recorded = json.loads(path.read_text())
    text = json.dumps(recorded["history"]).replace('"freeze_audience"', '"thaw_audience"')

    with pytest.raises(Exception, match=r"TMPRL1100|[Nn]ondeterminism"):
        await replayer.replay_workflow(WorkflowHistory.from_json(recorded["id"], text))
