"""The bridge of docs/examples against an SQS queue: each message becomes one event, what is refused stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from sqlalchemy import Engine

from domain.api_key import Scope
from models.team import default_team_id
from settings import load
from stack.ports import free_ports
from starter.api_keys import KeyWish, create_key
from tests.builders import scalar, scalars
from tests.scenario import wait_until
from tests.topics import a_topic, members
from tests.web_process import ROOT, WebProcess

BRIDGE = ROOT / "docs" / "examples" / "sqs_bridge.py"


@pytest.fixture
def aws() -> Iterator[dict[str, str]]:
    """The environment in which boto3 finds a queue server on this machine."""
    port = free_ports(1)[0]
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    yield {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    server.stop()


def queue(aws: dict[str, str]) -> tuple[Any, str]:
    sqs = boto3.client(
        "sqs",
        endpoint_url=aws["AWS_ENDPOINT_URL"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name=aws["AWS_DEFAULT_REGION"],
    )
    made = sqs.create_queue(QueueName="orders", Attributes={"VisibilityTimeout": "1"})
    return sqs, made["QueueUrl"]


def left(sqs: Any, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    said = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(said[name]) for name in names)


def an_event(order: str, **more: Any) -> str:
    return json.dumps({"topic": "orders", "data": {"title": f"Order {order}"}, **more})


def test_messages_of_a_queue_become_events_once_each_and_wait_while_the_api_is_away(
    engine: Engine, aws: dict[str, str], tmp_path: Path
) -> None:
    members(engine, 2, a_topic(engine))
    with engine.begin() as connection:
        secret = load(_env_file=None).api_secret.get_secret_value().encode()
        wish = KeyWish(name="bridge", scopes=[Scope.EVENTS_WRITE.value])
        key = create_key(connection, secret, default_team_id(connection), wish).text
    sqs, queue_url = queue(aws)
    sent = [
        sqs.send_message(QueueUrl=queue_url, MessageBody=body)["MessageId"]
        for body in (
            an_event("1"),
            an_event("2", key="order-2"),
            an_event("2", key="order-2"),
            an_event("3", topic="nothing"),
            "no JSON",
            "[1]",
        )
    ]
    database_url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    log = tmp_path / "bridge.log"

    with WebProcess(database_url, tmp_path) as web, log.open("wb") as out:
        environment = {**os.environ, **aws, "URL": web.url, "KEY": key}
        bridge = subprocess.Popen(
            [sys.executable, "-I", str(BRIDGE), queue_url, "0"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
        try:
            # The API is not there yet: all of them stay.
            wait_until(lambda: all(one in log.read_text() for one in sent), 30)
            assert left(sqs, queue_url) == len(sent)
            web.start()
            wait_until(lambda: left(sqs, queue_url) == 3, 30)
            wait_until(lambda: "HTTP Error 422" in log.read_text(), 30)
            assert bridge.poll() is None, log.read_text()
        finally:
            bridge.kill()
            bridge.wait()

    assert set(scalars(engine, "SELECT key FROM topic_event")) == {sent[0], "order-2"}
    assert scalar(engine, "SELECT count(*) FROM outbox") == 4
    assert left(sqs, queue_url) == 3
