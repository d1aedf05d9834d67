"""The application's routes in; its OpenAPI document out: policies, terms, examples of each request, answer and refusal."""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts

from hub import problems
from hub.auth.guard import Policy, policies
from hub.problems import KINDS, MEDIA_TYPE, Kind, Problem, invalid

ABOUT = """\
Readings of an air-quality network: stations, sensors, their values with quality flags, and live events.

Times are RFC 3339 in UTC with milliseconds; those you send need an offset. Flags are QARTOD's: 1 good, 2 not evaluated,
3 suspect, 4 fail, 9 missing. Lists go on at `meta.next`, which the header Link names too. Errors are RFC 9457 problems with a
stable `type`.

Send a token as `Authorization: Bearer <token>` or an API key as `X-API-Key: <key>`, never both. The fields RateLimit and
RateLimit-Policy say how many requests are left; a 429 says in Retry-After when to come back. An ETag sent back as If-None-Match
saves the answer. A POST that takes Idempotency-Key is done once for a key, its answer kept for 24 hours. A body has at most
1 MiB and nests at most 32 deep, where nothing else is said.
"""
TAGS = {
    "stations": "Where sensors stand, with their newest values",
    "sensors": "What measures, and where it stood when",
    "readings": "Values over time, and as they come in",
    "gateways": "What brings readings in: enrolment, keys, ledgers",
    "networks": "Whose stations they are, and who may do what there",
    "ingest": "Readings by HTTP, from sensors without a gateway",
    "sign-in": "Signing in and out, sessions",
    "account": "One's own account, password and address",
    "API keys": "One's own API keys",
    "authenticator app": "The second factor",
    "users": "Accounts, for the hub's admins",
    "audit": "Who changed what",
    "operation": "For whoever runs the hub",
}
POLICY = "x-policy"
SECURED: Mapping[Policy, list[dict[str, list[str]]]] = {
    Policy.PUBLIC: [{}, {"token": []}, {"key": []}],
    Policy.AUTHENTICATED: [{"token": []}, {"key": []}],
    Policy.ADMIN: [{"token": []}, {"key": []}],
    Policy.GATEWAY_KEY: [{"key": []}, {"token": []}],
}
AN_ID = "3f1c9a0b7d2e4856"
ERRORS: Mapping[str, Problem] = {
    "401": Problem(problems.NO_TOKEN),
    "403": Problem(problems.FORBIDDEN),
    "404": Problem(problems.NOT_FOUND),
    "409": Problem(problems.KEY_RUNNING),
    "413": Problem(problems.TOO_LARGE, "a body has at most 1048576 bytes"),
    "422": invalid("limit", "Input should be less than or equal to 1000"),
    "429": Problem(problems.TOO_MANY, "more than 600 requests in 60 s with this key or token"),
    "503": Problem(problems.UNAVAILABLE),
}
"""What an operation may refuse with, by the status as OpenAPI writes it."""


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once."""
    if app.openapi_schema is None:
        made = get_openapi(title="Harmattan hub", version=version("harmattan"), description=ABOUT, routes=app.routes)
        components = made.setdefault("components", {})
        found = {name: schema for name, schema in components.get("schemas", {}).items() if "ValidationError" not in name}
        components["schemas"] = _merged(found, {"Problem": _problem_schema()}, *_gathered(made))
        components["responses"] = {_title(problem.kind): _refusal(problem) for problem in ERRORS.values()}
        components["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        for route in iter_route_contexts(app.routes):
            for method in (route.methods or ()) if route.include_in_schema else ():
                path = str(route.path)
                _complete(made["paths"][path][method.lower()], path, policies(route)[0], components["schemas"])
        made["tags"] = _tags(made)
        app.openapi_schema = made
    return app.openapi_schema


def _complete(operation: dict[str, Any], path: str, policy: Policy, schemas: Mapping[str, Any]) -> None:
    operation[POLICY] = policy.value
    if policy in SECURED and not (policy is Policy.GATEWAY_KEY and "{key}" in path):  # there the path itself is the key
        operation["security"] = SECURED[policy]
    for media in operation.get("requestBody", {}).get("content", {}).values():
        example = _example(media.get("schema", {}), schemas)
        if example is not None:
            media.setdefault("example", example)
    answers = operation["responses"]
    answers.pop("422", None)
    for status in _refusals(operation, path, policy):
        answers.setdefault(status, {"$ref": f"#/components/responses/{_title(ERRORS[status].kind)}"})
    schema = {"$ref": "#/components/schemas/Problem"}
    example = Problem(problems.INTERNAL).document(AN_ID)
    answers["default"] = {
        "description": "A problem, see /problems",
        "content": {MEDIA_TYPE: {"schema": schema, "example": example}},
    }


def _refusals(operation: Mapping[str, Any], path: str, policy: Policy) -> Iterator[str]:
    given = operation.get("parameters", [])
    if policy in (Policy.AUTHENTICATED, Policy.ADMIN, Policy.GATEWAY_KEY):
        yield "401"
        yield "403"
    if "{" in path:
        yield "404"
    if any(one["name"] == "Idempotency-Key" for one in given):
        yield "409"
    if "requestBody" in operation:
        yield "413"
    if given or "requestBody" in operation:
        yield "422"
    if path.startswith("/api/"):
        yield "429"
        yield "503"


def _example(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    """The example of a body, wherever its model wrote it."""
    for one in (schema, *schema.get("anyOf", ())):
        named = schemas.get(str(one.get("$ref", "")).rpartition("/")[2], one)
        if "example" in named:
            return named["example"]
        if named.get("examples"):
            return named["examples"][0]
    return None


def _tags(made: Mapping[str, Any]) -> list[dict[str, str]]:
    """The tags in use, in the order in which people read them. Raises RuntimeError for one that is not explained."""
    used = {tag for verbs in made["paths"].values() for operation in verbs.values() for tag in operation.get("tags", ())}
    if unknown := used - set(TAGS):
        raise RuntimeError(f"no words in TAGS about {', '.join(sorted(unknown))}")
    return [{"name": name, "description": said} for name, said in TAGS.items() if name in used]


def _title(kind: Kind) -> str:
    return "".join(part.capitalize() for part in kind.name.split("-"))


def _refusal(problem: Problem) -> dict[str, Any]:
    said: dict[str, Any] = {
        "description": problem.kind.title,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": problem.document(AN_ID)}},
    }
    if problem.kind.status in (409, 429, 503):
        said["headers"] = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer", "minimum": 1}}}
    return said


def _gathered(node: Any) -> Iterator[dict[str, Any]]:
    """The `x-components` of every answer, taken out of where they stood."""
    if isinstance(node, dict) and "x-components" in node:
        yield node.pop("x-components")
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _gathered(child)


def _merged(*all_schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Raises RuntimeError for one name with two meanings: every answer but one would be told wrongly."""
    merged: dict[str, Any] = {}
    for name, schema in (item for schemas in all_schemas for item in schemas.items()):
        if merged.setdefault(name, schema) != schema:
            raise RuntimeError(f"two schemas of the API are named {name}; rename one of their classes")
    return merged


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
