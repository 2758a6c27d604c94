"""Messages of an SQS queue become events: URL=… KEY=… python sqs_bridge.py QUEUE_URL [SECONDS]

A body is {"topic": …, "data": {…}}, and may have a "key"; else the message's id is the event's key, so
one that SQS delivers twice tells nobody twice. A message is deleted once its event is committed. One
that is refused, or comes while the API is away, stays: SQS shows it again, and at last gives it to the
queue's dead-letter queue. Needs `pip install boto3`; as many of it as you like may run.
"""

import json
import os
import sys
from urllib.error import URLError
from urllib.request import Request, urlopen

import boto3

queue_url, wait_seconds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20
sqs = boto3.client("sqs")
headers = {"Authorization": "Bearer " + os.environ["KEY"], "Content-Type": "application/json"}
while True:
    received = sqs.receive_message(
        QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_seconds
    )
    for message in received.get("Messages", []):
        try:
            event = {"key": message["MessageId"], **json.loads(message["Body"])}
            body = json.dumps(event).encode()
            urlopen(Request(os.environ["URL"] + "/v1/events", body, headers), timeout=30).close()
        except (URLError, OSError, ValueError, TypeError) as error:  # it stays in the queue
            print(message["MessageId"], error, file=sys.stderr, flush=True)
        else:
            sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
