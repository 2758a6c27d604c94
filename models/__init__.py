"""Tables and every query on them, a module per aggregate; no SQL anywhere else.

Importing this package registers all tables with SQLModel's metadata.
"""

from models.account import ProviderAccount
from models.account_health import AccountHealth
from models.api_key import ApiKey
from models.attempt import Attempt
from models.audit_entry import AuditEntry
from models.batch import Batch
from models.cap import CapCount, CapUse, FrequencyCap
from models.consent import ConsentEvent
from models.delivery import Delivery, DeliveryEvent
from models.digest import DigestItem, DigestPeriod
from models.event_inbox import EventInbox
from models.hold import Hold
from models.idempotent_answer import IdempotentAnswer
from models.import_job import ImportJob
from models.in_app import InAppItem
from models.join_request import JoinRequest
from models.message import Message
from models.message_group import MessageGroup
from models.outbox import Outbox
from models.rate_limit import RateLimit
from models.recipient import ContactPoint, Recipient
from models.send import Send
from models.suppression import Suppression
from models.team import Team
from models.template import Link, Template, TemplateVersion
from models.topic import Subscription, Topic
from models.topic_event import TopicEvent
from models.topic_rule import TopicRule
from models.webhook_delivery import WebhookDelivery
from models.webhook_endpoint import WebhookEndpoint

__all__ = [
    "AccountHealth",
    "ApiKey",
    "Attempt",
    "AuditEntry",
    "Batch",
    "CapCount",
    "CapUse",
    "ConsentEvent",
    "ContactPoint",
    "Delivery",
    "DeliveryEvent",
    "DigestItem",
    "DigestPeriod",
    "EventInbox",
    "FrequencyCap",
    "Hold",
    "IdempotentAnswer",
    "ImportJob",
    "InAppItem",
    "JoinRequest",
    "Link",
    "Message",
    "MessageGroup",
    "Outbox",
    "ProviderAccount",
    "RateLimit",
    "Recipient",
    "Send",
    "Subscription",
    "Suppression",
    "Team",
    "Template",
    "TemplateVersion",
    "Topic",
    "TopicEvent",
    "TopicRule",
    "WebhookDelivery",
    "WebhookEndpoint",
]
