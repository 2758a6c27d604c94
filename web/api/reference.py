"""/v1/docs: the OpenAPI document for people, as one page without scripts or anything from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import templates
from web.pages import Pages

_FOLDER = Path(templates.__file__).parent / "public"


def add_reference(app: FastAPI, path: str) -> None:
    """Serve the page; it is rendered once."""
    pages = Pages()
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined
    )
    template = environment.get_template("api_reference.html")
    rendered: list[str] = []

    def reference(_: Request) -> HTMLResponse:
        if not rendered:
            style = (_FOLDER / "style.css").read_text(encoding="utf-8")
            rendered.append(template.render(style=style, tags=_by_tag(app.openapi())))
        return HTMLResponse(rendered[0], headers=pages.headers)

    app.add_api_route(path, reference, tags=["reference"], include_in_schema=False)


def _by_tag(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    schemas = document["components"]["schemas"]
    tags: dict[str, list[dict[str, Any]]] = {}
    for path, methods in sorted(document["paths"].items()):
        for method, operation in methods.items():
            tags.setdefault(operation["tags"][0], []).append(
                {
                    "method": method.upper(),
                    "path": path,
                    "summary": operation.get("description") or operation["summary"],
                    "fields": [*_parameters(operation), *_body(operation, schemas)],
                }
            )
    return tags


def _parameters(operation: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": one["name"],
            "where": one["in"],
            "is_required": one.get("required", False),
            "type": _type(one["schema"]),
            "text": one.get("description", ""),
        }
        for one in operation.get("parameters", [])
    ]


def _body(operation: dict[str, Any], schemas: dict[str, Any]) -> list[dict[str, Any]]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    schema = schemas.get(name, {})
    return [
        {
            "name": field,
            "where": "body",
            "is_required": field in schema.get("required", []),
            "type": _type(said),
            "text": said.get("description", ""),
        }
        for field, said in schema.get("properties", {}).items()
    ]


def _type(schema: dict[str, Any]) -> str:
    """In a few words."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        kinds = [_type(one) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(kinds)
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    return str(schema.get("format") or schema.get("type") or "any")
