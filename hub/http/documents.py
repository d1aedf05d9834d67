"""The application's routes in; its OpenAPI document and the pages for people out: /api-docs, /problems. No script at all."""

import re
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts
from jinja2 import Environment, PackageLoader, StrictUndefined

from hub import problems
from hub.answers import Json
from hub.auth.guard import Allow, Policy, policies
from hub.problems import KINDS, MEDIA_TYPE, Problem

ABOUT = """\
Readings of an air-quality network: stations, sensors, their values with quality flags, and live events.

Times are RFC 3339 in UTC with milliseconds; those you send need an offset. Flags are QARTOD's: 1 good, 2 not evaluated,
3 suspect, 4 fail, 9 missing. Lists go on at `meta.next`. Errors are RFC 9457 problems with a stable `type`.
"""
router = APIRouter(dependencies=[Depends(Allow(Policy.PUBLIC))], include_in_schema=False)
pages = Environment(loader=PackageLoader("hub.http", "pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
STYLE = files("hub.http").joinpath("pages", "plain.css").read_bytes()
POLICY = "x-policy"
VERBS = ("get", "put", "post", "delete", "patch")


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    return Json(document(request.app))


@router.get("/api-docs")
async def api_docs(request: Request) -> Response:
    return page("api-docs.html", api=document(request.app), operations=list(_operations(document(request.app))))


@router.get("/problems")
async def all_problems() -> Response:
    return page("problems.html", kinds=list(KINDS.values()))


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
    return Response(pages.get_template(template).render(**told), media_type="text/html; charset=utf-8")


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once: policies, problems and the structs' schemas put where they belong."""
    if app.openapi_schema is None:
        made = get_openapi(title="Harmattan hub", version=version("harmattan"), description=ABOUT, routes=app.routes)
        components = made.setdefault("components", {})
        found = {name: schema for name, schema in components.get("schemas", {}).items() if "ValidationError" not in name}
        components["schemas"] = {**found, "Problem": _problem_schema(), **_gathered(made)}
        components["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        for route in iter_route_contexts(app.routes):
            for method in (route.methods or ()) if route.include_in_schema else ():
                _complete(made["paths"][route.path][method.lower()], policies(route)[0])
        app.openapi_schema = made
    return app.openapi_schema


def declared(router: APIRouter) -> APIRouter:
    """The router, when each of its routes declares one policy. Raises RuntimeError for one that does not."""
    for route in iter_route_contexts(router.routes):
        if isinstance(route.original_route, APIRoute):
            found = policies(route)
            if len(found) != 1:
                raise RuntimeError(f"{route.path} declares {len(found)} policies; give it one Depends(Allow(Policy...))")
    return router


def _complete(operation: dict[str, Any], policy: Policy) -> None:
    operation[POLICY] = policy.value
    if policy in (Policy.AUTHENTICATED, Policy.ADMIN):
        operation["security"] = [{"token": []}, {"key": []}]
    elif policy is Policy.PUBLIC:
        operation["security"] = [{}, {"token": []}, {"key": []}]
    elif policy is Policy.GATEWAY_KEY:
        operation["security"] = [{"key": []}, {"token": []}]
    answers = operation["responses"]
    answers.pop("422", None)
    schema = {"$ref": "#/components/schemas/Problem"}
    answers["default"] = {"description": "A problem, see /problems", "content": {MEDIA_TYPE: {"schema": schema}}}


def _gathered(node: Any) -> dict[str, Any]:
    """The `x-components` of every answer, taken out of where they stood."""
    found: dict[str, Any] = {}
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    if isinstance(node, dict) and "x-components" in node:
        found |= node.pop("x-components")
    for child in children:
        found |= _gathered(child)
    return found


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    one = {"type": "object", "properties": {"in": text, "name": text, "why": text}}
    return {
        "title": "Problem",
        "description": "RFC 9457. `type` is a path of this hub with a page for people; `instance` is the request's id.",
        "type": "object",
        "required": ["type", "title", "status"],
        "properties": {
            "type": {"type": "string", "enum": [kind.path for kind in KINDS.values()]},
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "instance": text,
            "errors": {"type": "array", "items": one},
        },
    }


def _operations(api: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Flat rows for the page: one an operation."""
    for path, verbs in api["paths"].items():
        for verb in VERBS:
            if verb in verbs:
                answer = verbs[verb]["responses"].get("200", {}).get("content", {})
                shown = next(
                    ((media, said.get("example"), _name(said.get("schema", {}))) for media, said in answer.items()), None
                )
                anchor = re.sub(r"[^a-z0-9]+", "-", f"{verb}{path}".lower()).strip("-")
                yield {"verb": verb.upper(), "path": path, "anchor": anchor, "told": verbs[verb], "shown": shown}


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]
