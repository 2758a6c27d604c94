"""Names on the wire are pinned: a running Temporal knows them, so changing one is a migration."""

from __future__ import annotations

from temporalio import activity, workflow

from activities.campaign import CampaignActivities
from activities.digests import DigestActivities
from activities.event_upkeep import EventActivities
from activities.groups import GroupActivities
from activities.requests import RequestActivities
from activities.send_batch import SendActivities
from activities.upkeep import UpkeepActivities
from activities.webhooks import WebhookActivities
from workflows import contract
from workflows.deliver_webhooks import DeliverWebhooks
from workflows.request_send import RequestSend
from workflows.run_campaign import RunCampaign
from workflows.run_digests import RunDigests
from workflows.send_messages import SendMessages
from workflows.send_shard import SendShard
from workflows.upkeep import Upkeep

SEND = 1_790_000_000_000 << 20


def test_workflow_ids_are_made_of_our_keys() -> None:
    assert contract.campaign_workflow_id(SEND) == "campaign:snd_1m3250v000000"
    assert contract.shard_workflow_id(SEND, 3) == "campaign:snd_1m3250v000000/shard:3"
    assert contract.messages_workflow_id(SEND) == "messages:grp_1m3250v000000"
    assert contract.webhook_workflow_id(SEND) == "webhook:whk_1m3250v000000"
    assert contract.request_workflow_id("default", "k-1") == "request:default:k-1"
    assert (
        contract.digests_workflow_id("daily", "2026-11-28", "default")
        == "digests:daily:2026-11-28/team:default"
    )
    assert [contract.upkeep_workflow_id(name) for name in contract.UPKEEP_TASKS] == [
        "upkeep:reconcile",
        "upkeep:partitions",
        "upkeep:accounts",
        "upkeep:fold",
        "upkeep:look_up",
        "upkeep:webhooks",
    ]
    assert contract.send_id_of("campaign:snd_1m3250v000000/shard:3") == SEND


def test_queues_and_search_attributes_keep_their_names() -> None:
    queues = (
        contract.ORCHESTRATION_QUEUE,
        contract.TRANSACTIONAL_QUEUE,
        contract.CAMPAIGN_QUEUE,
        contract.UPKEEP_QUEUE,
    )
    assert queues == ("orchestration", "transactional", "campaign", "upkeep")
    names = [attribute.name for attribute in contract.SEARCH_ATTRIBUTES]
    assert names == ["SendId", "SendKind", "SendState", "Team", "Topic", "Channel"]


def test_workflows_keep_their_names_updates_and_signals() -> None:
    definitions = {
        w: workflow._Definition.must_from_class(w)
        for w in (
            RunCampaign,
            SendShard,
            SendMessages,
            RequestSend,
            RunDigests,
            DeliverWebhooks,
            Upkeep,
        )
    }
    assert [d.name for d in definitions.values()] == [
        "RunCampaign",
        "SendShard",
        "SendMessages",
        "RequestSend",
        "RunDigests",
        "DeliverWebhooks",
        "Upkeep",
    ]
    for sending in (SendMessages, RequestSend):
        assert sorted(filter(None, definitions[sending].signals)) == ["group_changed"]
    campaign = definitions[RunCampaign]
    assert sorted(filter(None, campaign.updates)) == ["cancel", "pause", "resume", "set_rate"]
    assert sorted(filter(None, campaign.signals)) == ["send_changed"]
    assert sorted(filter(None, campaign.queries)) == ["progress"]
    assert sorted(filter(None, definitions[SendShard].signals)) == ["send_changed"]


def test_activities_keep_their_names() -> None:
    methods = [
        *(vars(CampaignActivities).values()),
        *(vars(SendActivities).values()),
        *(vars(GroupActivities).values()),
        *(vars(RequestActivities).values()),
        *(vars(DigestActivities).values()),
        *(vars(UpkeepActivities).values()),
        *(vars(EventActivities).values()),
        *(vars(WebhookActivities).values()),
    ]
    found = [activity._Definition.from_callable(m) for m in methods if callable(m)]
    assert sorted(d.name for d in found if d and d.name) == [
        "change_send",
        "close_send",
        "commit_request",
        "deliver_webhooks",
        "drive_group",
        "fold_events",
        "freeze_audience",
        "keep_partitions",
        "look_at_send",
        "look_up_unknown",
        "open_shard",
        "reconcile",
        "send_batch",
        "watch_accounts",
        "watch_webhooks",
        "write_digests",
    ]
