"""carillon template: publish, preview and list what is sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from starter.templates import Preview

app = typer.Typer(no_args_is_help=True, help="Templates: publish, preview, list.")

Folder = Annotated[
    Path,
    typer.Argument(help="Folder with template.toml, subject.txt, body.html and body.txt."),
]


@app.command()
def publish(folder: Folder) -> None:
    """Publish the folder as a new version; the same content again is the version there is."""
    from starter import context, output, templates

    label = templates.publish(context.engine(), folder)
    output.show({"template": label}, lambda: label)


@app.command()
def preview(
    folder: Folder,
    data: Annotated[
        Path | None, typer.Option(help="JSON file with a recipient's values, over the sample's.")
    ] = None,
    locale: Annotated[
        str | None, typer.Option(help="The recipient's, such as de_AT; else everybody's text.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show the HTML in the browser.")] = False,
) -> None:
    """Render the folder for one sample recipient; needs no database and sends nothing."""
    from starter import output, templates

    made = templates.preview(folder, templates.read_data(data) if data else {}, locale)
    page = templates.write_page(made) if made.html else None
    output.show(
        {"subject": made.subject, "text": made.text, "html_file": page and str(page)},
        lambda: _preview_text(made, page),
    )
    if open_ and page:
        import webbrowser

        webbrowser.open(page.as_uri())


@app.command("list")
def list_() -> None:
    """All templates with their newest version."""
    from models.team import default_team_id
    from models.template import list_versions
    from starter import context, output

    with context.engine().connect() as connection:
        versions = list_versions(connection, default_team_id(connection))
    output.show(
        {
            "templates": [
                {
                    "template": version.label,
                    "name": version.name,
                    "class": version.message_class,
                    "published_at": version.published_at,
                }
                for version in versions
            ]
        },
        lambda: output.table(
            ("template", "name", "class", "published (UTC)"),
            [
                (
                    version.label,
                    version.name,
                    version.message_class,
                    f"{version.published_at:%Y-%m-%d %H:%M}",
                )
                for version in versions
            ],
            none="There are no templates yet. Publish one with: carillon template publish FOLDER",
        ),
    )


def _preview_text(made: Preview, page: Path | None) -> str:
    parts = [f"Subject: {made.subject}", made.text.rstrip() or "(no text part)"]
    parts.append(f"HTML: {page.as_uri()}" if page else "(no HTML part)")
    return "\n\n".join(parts)
