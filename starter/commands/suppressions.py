"""carillon suppressions: addresses that are not sent to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from starter.suppressions_import import SuppressionImportResult

app = typer.Typer(no_args_is_help=True, help="Suppressions: addresses that are not sent to.")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV with the columns email and reason.")],
) -> None:
    """Suppress the addresses of a CSV file; bad rows go to FILE.rejects.csv and stop nothing."""
    from starter import context, output
    from starter.import_progress import import_progress
    from starter.suppressions_import import import_suppressions

    engine = context.engine()
    with import_progress(file) as on_progress:
        result = import_suppressions(engine, file, on_progress=on_progress)
    output.show(result, lambda: summary(result))


def summary(result: SuppressionImportResult) -> str:
    """What an import did, in a line or two for people."""
    lines = [
        f"{result.rows:,} rows in {result.seconds:.1f} s: {result.added:,} addresses suppressed,"
        f" {result.unchanged:,} were already, {result.rejected:,} rejected."
    ]
    if result.rejects_path:
        lines.append(f"The rejected rows, with the reasons: {result.rejects_path}")
    return "\n".join(lines)
