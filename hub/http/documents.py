"""The API's document in; it and the pages for people out: /openapi.json, /api-docs, /problems. No script at all."""

import html
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from importlib.resources import files
from typing import Any

import msgspec
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from hub import problems
from hub.auth.guard import Allow, Guarded, Policy
from hub.http.openapi import document
from hub.problems import KINDS, Problem

__all__ = ["document", "page", "router"]
router = APIRouter(route_class=Guarded, dependencies=[Depends(Allow(Policy.PUBLIC))], include_in_schema=False)
pages = Environment(loader=PackageLoader("hub.http", "pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
MARK = re.compile(r"`([^`]+)`")
STYLE = files("hub.http").joinpath("pages", "plain.css").read_bytes()
VERBS = ("get", "put", "post", "delete", "patch")
HTML, JSON = "text/html; charset=utf-8", "application/json"


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    return _made(request, "openapi", JSON, lambda app: msgspec.json.encode(document(app)))


@router.get("/api-docs")
async def api_docs(request: Request) -> Response:
    return _made(request, "api_docs", HTML, lambda app: _told("api-docs.html", api=document(app), groups=_groups(document(app))))


@router.get("/problems")
async def all_problems(request: Request) -> Response:
    return _made(request, "problems", HTML, lambda _: _told("problems.html", kinds=list(KINDS.values())))


@router.get("/problems/{name}")
async def one_problem(name: str) -> Response:
    if name not in KINDS:
        raise Problem(problems.NOT_FOUND)
    return page("problems.html", kinds=[KINDS[name]])


@router.get("/plain.css")
async def style() -> Response:
    return Response(STYLE, media_type="text/css", headers={"Cache-Control": "max-age=3600"})


def page(template: str, **told: Any) -> Response:
    """One of the plain pages, made here."""
    return Response(_told(template, **told), media_type=HTML)


def marked(text: str) -> str:
    """A text as HTML; what stands between backticks is code."""
    return MARK.sub(r"<code>\1</code>", html.escape(text))


pages.filters["marked"] = marked


def _told(template: str, **told: Any) -> bytes:
    return pages.get_template(template).render(**told).encode()


def _made(request: Request, name: str, media: str, make: Callable[[FastAPI], bytes]) -> Response:
    """A document that is the same until the hub ends: made when it is first asked for, then kept with its ETag."""
    kept: dict[str, tuple[bytes, str]] = request.app.state.documents
    if name not in kept:
        body = make(request.app)
        kept[name] = body, f'"{blake2b(body, digest_size=8).hexdigest()}"'
    body, tag = kept[name]
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media, headers=headers)


def _groups(api: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The operations by their tag."""
    rows = list(_operations(api))
    return [
        tag | {"anchor": _anchor(tag["name"]), "operations": [row for row in rows if tag["name"] in row["told"]["tags"]]}
        for tag in api["tags"]
    ]


def _anchor(name: str) -> str:
    """An id of HTML has no spaces."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _operations(api: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows for the page, one an operation."""
    for path, verbs in api["paths"].items():
        for verb in VERBS:
            if verb in verbs:
                told = verbs[verb]
                good, answer = next((status, said) for status, said in told["responses"].items() if status.startswith("2"))
                shown: tuple[str | None, Mapping[str, Any]] = next(iter(answer.get("content", {}).items()), (None, {}))
                body: Mapping[str, Any] = next(iter(told.get("requestBody", {}).get("content", {}).values()), {})
                yield {
                    "verb": verb.upper(),
                    "path": path,
                    "anchor": _anchor(f"{verb}{path}"),
                    "told": told,
                    "good": good,
                    "media": shown[0],
                    "schema": _name(shown[1].get("schema", {})),
                    "example": shown[1].get("example"),
                    "body": list(_fields(body.get("schema", {}), api["components"]["schemas"])),
                    "sent": body.get("example"),
                    "refusals": [status for status in told["responses"] if status not in (good, "default")],
                    "curl": _curl(verb.upper(), path, told, body),
                }


def _fields(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The fields of a body."""
    for one in (schema, *schema.get("anyOf", ())):
        model = schemas.get(_name(one), one)
        for name, field in model.get("properties", {}).items():
            yield {
                "name": name,
                "required": name in model.get("required", ()),
                "type": _type(field, schemas),
                "description": field.get("description", ""),
            }


def _type(field: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    """`integer`, `string, at most 200`, `one of a, b`, `time or null`."""
    if kinds := field.get("anyOf"):
        return " or ".join(dict.fromkeys(_type(kind, schemas) for kind in kinds))
    if named := _name(field):
        return _type(schemas[named], schemas) if "enum" in schemas.get(named, {}) else named
    if "enum" in field:
        return "one of " + ", ".join(map(str, field["enum"]))
    if "const" in field:
        return str(field["const"])
    told = str(field.get("type", "any"))
    if told == "array":
        told = f"list of {_type(field.get('items', {}), schemas)}"
    return told + (f", at most {field['maxLength']}" if "maxLength" in field else "")


def _curl(verb: str, path: str, told: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    """A line for a shell in which HUB, TOKEN and the names in the path are set."""
    words = ["curl"] if verb == "GET" else ["curl", "-X", verb]
    if "security" in told and {} not in told["security"]:
        words += ["-H", '"Authorization: Bearer $TOKEN"']
    if body.get("example") is not None:
        words += ["--json", shlex.quote(msgspec.json.encode(body["example"]).decode())]
    return " ".join([*words, '"$HUB' + re.sub(r"\{(\w+)\}", r"$\1", path) + '"'])


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]
