"""carillon audit: whether the accounts of campaigns, single messages and frequency caps balance."""

from __future__ import annotations

from typing import Annotated

import typer


def audit(
    campaign: Annotated[str | None, typer.Argument(help="Its id, snd_…; without it: all.")] = None,
) -> None:
    """Check that every message of a campaign is accounted for; exit 1 where one is not.

    Without a campaign what frequency caps count is compared with the messages they count, too.
    """
    from domain.identifier import SEND_PREFIX, key_of, public_id
    from starter import context, output
    from starter.audits import examine, examine_caps

    engine = context.engine()
    send_id = key_of(SEND_PREFIX, campaign) if campaign is not None else None
    found = {
        public_id(SEND_PREFIX, send): problems
        for send, problems in examine(engine, send_id).items()
    }
    of_caps = [] if campaign else examine_caps(engine)
    is_balanced = not (of_caps or any(found.values()))
    output.show(
        {
            "balanced": is_balanced,
            "campaigns": [{"id": key, "problems": said} for key, said in found.items()],
            "caps": of_caps,
        },
        lambda: (
            "\n".join(
                [f"{key}: {problem}" for key, said in found.items() for problem in said] + of_caps
            )
            or f"The accounts balance; campaigns looked at: {len(found)}"
        ),
    )
    if not is_balanced:
        raise typer.Exit(1)
