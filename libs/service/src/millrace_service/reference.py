"""An OpenAPI document as a page for people: no script, nothing from the network, so that it is there in a closed one, too."""

import json
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

Json = Mapping[str, Any]

# The page says nothing but what the document says, and needs nothing from anywhere
SAFELY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_STYLE = """
:root{color-scheme:light}
body{font:15px/1.5 system-ui,sans-serif;color:#1c2833;background:#fff;max-width:60rem;margin:2rem auto;padding:0 1rem;
overflow-wrap:anywhere}
h3{margin:2rem 0 .3rem;font:600 16px/1.4 ui-monospace,monospace}h3 b{color:#2471a3;margin-right:.5rem}
h4{margin:.8rem 0 .2rem;font-size:14px;color:#566573}p{margin:.4rem 0;white-space:pre-line}
.wide{overflow-x:auto}table{border-collapse:collapse}
td,th{padding:.2rem .7rem .2rem 0;text-align:left;vertical-align:top;border-bottom:1px solid #d5d8dc}
td{min-width:5rem}td:last-child{min-width:14rem}code{font:13px ui-monospace,monospace}a{color:#2471a3}
nav li{font:13px/1.7 ui-monospace,monospace;list-style:none}nav ul{padding:0}
""".strip()


def reference(document: Json, *, trying: str | None = None) -> str:
    """The whole page. `trying`: where requests can be tried out, with scripts from the network; None: nowhere."""
    about = document["info"]
    title = str(about["title"])
    operations = list(_operations(document))
    links = '<a href="/openapi.json">OpenAPI document</a>' + (
        f' · <a href="{escape(trying)}">try requests out</a> (loads Swagger UI from cdn.jsdelivr.net)'
        if trying
        else ""
    )
    listed = "".join(
        f'<li><a href="#{_anchor(method, path)}">{method.upper()} {escape(path)}</a></li>'
        for method, path, _ in operations
    )
    body = "".join(_operation(method, path, each) for method, path, each in operations)
    schemas = document.get("components", {}).get("schemas", {})
    shapes = "".join(_shape(name, schemas[name]) for name in sorted(schemas))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{_words(about.get('description'))}<p>{links}</p>"
        f"<nav><ul>{listed}</ul></nav><h2>Requests</h2>{body}<h2>Schemas</h2>{shapes}</body></html>\n"
    )


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                yield method, path, methods[method]


def _operation(method: str, path: str, operation: Json) -> str:
    parts = [
        f'<h3 id="{_anchor(method, path)}"><b>{method.upper()}</b>{escape(path)}</h3>',
        _words(operation.get("description") or operation.get("summary")),
    ]
    parameters = [
        (
            each["name"],
            f"{each['in']}{', required' if each.get('required') else ''}",
            _type(each.get("schema", {})),
            _said(each),
        )
        for each in operation.get("parameters", ())
    ]
    if parameters:
        parts.append("<h4>Parameters</h4>" + _table(parameters))
    asked = operation.get("requestBody")
    if asked:
        parts.append("<h4>Body</h4>" + _table(_contents("", asked)))
    answers = [
        row for status, each in operation["responses"].items() for row in _contents(status, each)
    ]
    return "".join(parts) + "<h4>Answers</h4>" + _table(answers)


def _contents(status: str, described: Json) -> Iterator[tuple[str, str, str, str]]:
    """One row for each media type; a body of which nothing is said has one as well."""
    contents: Json = described.get("content") or {"": {}}
    for media, content in contents.items():
        yield status, media, _type(content.get("schema", {})), str(described.get("description", ""))


def _shape(name: str, schema: Json) -> str:
    required = schema.get("required", ())
    rows = [
        (key, _type(each), "required" if key in required else "", _said(each))
        for key, each in schema.get("properties", {}).items()
    ]
    values = schema.get("enum")
    shown = _table(rows) if rows else _words(", ".join(map(json.dumps, values)) if values else "")
    return f'<h3 id="{escape(name)}">{escape(name)}</h3>{_words(schema.get("description"))}{shown}'


def _type(schema: Json) -> str:
    """In a few words; a schema of its own by its name."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    for key, joint in (("anyOf", " or "), ("oneOf", " or "), ("allOf", " and ")):
        if key in schema:
            return joint.join(dict.fromkeys(map(_type, schema[key])))
    kind = schema.get("type", "")
    if kind == "array":
        return f"list of {_type(schema.get('items', {})) or 'anything'}"
    if "enum" in schema or "const" in schema:
        return " or ".join(json.dumps(each) for each in schema.get("enum", [schema.get("const")]))
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _said(described: Json) -> str:
    schema = described.get("schema", described)
    text = str(described.get("description") or schema.get("description") or "")
    default = schema.get("default")
    return text if default is None else f"{text} (default {json.dumps(default)})".strip()


def _table(rows: Iterable[Iterable[str]]) -> str:
    """Columns in which nothing stands are left out."""
    cells = [list(row) for row in rows]
    kept = [place for place in range(len(cells[0])) if any(row[place] for row in cells)]
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(row[place])}</td>" for place in kept) + "</tr>"
        for row in cells
    )
    return f'<div class="wide"><table>{body}</table></div>'


def _words(text: object) -> str:
    return f"<p>{escape(str(text))}</p>" if text else ""


def _anchor(method: str, path: str) -> str:
    return escape(f"{method}-{path.strip('/').replace('/', '-').replace('{', '').replace('}', '')}")
