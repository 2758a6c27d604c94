"""A service in a process of its own that asks for single messages until it is killed.

Writes a line with the send's id for each request that it was told is committed, and nothing else.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from pathlib import Path

from starter.messages import Carillon


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--accepted", type=Path, required=True)
    parser.add_argument("--customers", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--threads", type=int, default=4)
    given = parser.parse_args()
    client = Carillon()
    with given.accepted.open("a", buffering=1) as accepted:

        def call(number: int) -> None:
            chance, pause = random.Random(), given.threads / given.rate
            due = time.monotonic() + chance.random() * pause
            while True:
                time.sleep(max(0.0, due - time.monotonic()))
                due += pause
                try:
                    sent = client.send_blocking(
                        "order-shipped",
                        to=f"person-{chance.randint(1, given.customers)}",
                        variables={"order": number},
                        priority=chance.choice(["critical", "normal"]),
                    )
                except Exception:  # the database is being killed: nothing was promised
                    time.sleep(0.2)
                    due = time.monotonic()
                    continue
                accepted.write(f"{sent.send_id}\n")

        threads = [threading.Thread(target=call, args=(n,)) for n in range(given.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
