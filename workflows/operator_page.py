"""The Markdown card that the Temporal UI shows of a campaign; pure, no addresses."""

from __future__ import annotations

from activities.contract import FrozenAudience, SendStatus


def render(phase: str, audience: FrozenAudience | None, status: SendStatus | None) -> str:
    """Phase, what stops it, and a table of counts."""
    lines = [f"**{audience.name if audience else 'Campaign'}** — {phase}"]
    if audience:
        lines.append(
            f"topic `{audience.topic}` · account `{audience.account}` · {audience.shards} shards"
        )
    if status:
        if status.stop:
            lines.append(f"**{status.stop}** {status.why}".strip())
        rate = f"{status.rate:g}/s" if status.rate else "as the account allows"
        lines.append(f"rate: {rate} · expires {status.expires_at:%Y-%m-%d %H:%M} UTC")
        lines += ["", "| outcome | messages |", "|---|---:|"]
        lines += [f"| {key} | {n:,} |" for key, n in sorted(status.counts.items())]
        final = sum(n for key, n in status.counts.items() if key != "unknown")
        lines.append(f"| owed | {status.messages - final:,} |")
        lines.append(f"| **all** | **{status.messages:,}** |")
    return "\n\n".join(lines[:3]) + "\n" + "\n".join(lines[3:])
