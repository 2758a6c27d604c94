"""A process of a service that asks for single messages: no worker in it, PostgreSQL alone.

python -m benchmarks.caller --people N --threads 8 --seconds 10 [--rate 75] [--priority critical]
prints the CPU seconds of its calls, then one line a request: send id, seconds since 1970 when it was accepted, seconds the call took.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time

from starter.messages import Carillon

TEMPLATE = "bench-single"


def main() -> None:
    """Call until the time is over; then say what was accepted when."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, required=True)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=0, help="requests a second; 0: flat out")
    parser.add_argument("--priority", default="normal")
    given = parser.parse_args()
    client = Carillon()
    accepted: list[tuple[int, float, float]] = []
    client.send_blocking(TEMPLATE, to="b1", variables={"order": 0})  # warms what is cached
    print("ready", flush=True)
    sys.stdin.readline()
    cpu = time.process_time()
    end = time.monotonic() + given.seconds

    def call(number: int) -> None:
        chance = random.Random(number)
        pause = given.threads / given.rate if given.rate else 0
        due = time.monotonic() + chance.random() * pause
        while due < end and time.monotonic() < end:
            time.sleep(max(0.0, due - time.monotonic()))
            started = time.monotonic()
            sent = client.send_blocking(
                TEMPLATE,
                to=f"b{chance.randint(1, given.people)}",
                variables={"order": number},
                priority=given.priority,
            )
            accepted.append((sent.send_id, time.time(), time.monotonic() - started))
            due = due + pause if pause else time.monotonic()

    threads = [threading.Thread(target=call, args=(n,)) for n in range(given.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(time.process_time() - cpu)
    for send_id, at, took in accepted:
        print(send_id, at, took)


if __name__ == "__main__":
    main()
