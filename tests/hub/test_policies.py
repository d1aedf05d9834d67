"""Who may call which route: one table by hand; every caller on every route; what belongs to others; fields that nobody gives.

The walks follow the API's own document, so that a route that is added is walked too: it has to be entered in the table, to give
an example of its body, and to stand under a path whose ids tests/hub/neighbours.py knows.
"""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.routing import iter_route_contexts
from msgspec import Struct

from hub.app import application, document
from hub.auth.guard import Policy, allows
from tests.hub.face import Face, migrated, open_face
from tests.hub.field import content
from tests.hub.neighbours import PARAMETER, Town, again, settle_town

__all__ = ["migrated"]
TABLE = """
public          GET     /health
public          GET     /ready
public          GET     /openapi.json
public          GET     /api-docs
public          GET     /problems
public          GET     /problems/{name}
public          GET     /plain.css
public          GET     /{path:path}
public          GET     /api/v1/networks
admin           POST    /api/v1/networks
public          GET     /api/v1/networks/{network}
network admin   PATCH   /api/v1/networks/{network}
network admin   DELETE  /api/v1/networks/{network}
network admin   GET     /api/v1/networks/{network}/members
network admin   POST    /api/v1/networks/{network}/members
network admin   PUT     /api/v1/networks/{network}/members/{account}
network admin   DELETE  /api/v1/networks/{network}/members/{account}
public          GET     /api/v1/stations
authenticated   POST    /api/v1/stations
public          GET     /api/v1/stations/{station}
authenticated   PATCH   /api/v1/stations/{station}
authenticated   DELETE  /api/v1/stations/{station}
public          GET     /api/v1/stations/{station}/deployments
public          GET     /api/v1/sensors
authenticated   POST    /api/v1/sensors
public          GET     /api/v1/sensors/{sensor}
authenticated   PATCH   /api/v1/sensors/{sensor}
authenticated   DELETE  /api/v1/sensors/{sensor}
public          GET     /api/v1/sensors/{sensor}/deployments
authenticated   POST    /api/v1/sensors/{sensor}/move
authenticated   POST    /api/v1/sensors/{sensor}/swap
public          GET     /api/v1/sensors/{sensor}/readings
gateway key     POST    /api/v1/ingest
gateway key     POST    /api/v1/push/airrohr/{key}
gateway key     POST    /api/v1/push/airgradient/{key}
gateway key     POST    /api/v1/push/airgradient/{key}/sensors/{serial}/measures
authenticated   GET     /api/v1/networks/{network}/rejects
public          GET     /api/v1/live
public          GET     /api/v1/dashboard/realtime
authenticated   GET     /api/v1/gateways
network admin   POST    /api/v1/gateways
authenticated   GET     /api/v1/gateways/{name}
network admin   PATCH   /api/v1/gateways/{name}
authenticated   GET     /api/v1/gateways/{name}/ledger
network admin   POST    /api/v1/gateways/{name}/invite
network admin   POST    /api/v1/gateways/{name}/revoke
authenticated   POST    /api/v1/gateways/{name}/move
network admin   GET     /api/v1/gateways/{name}/keys
network admin   POST    /api/v1/gateways/{name}/keys
network admin   DELETE  /api/v1/gateways/{name}/keys/{key}
public          POST    /api/v1/auth/register
public          POST    /api/v1/auth/login
public          POST    /api/v1/auth/refresh
public          POST    /api/v1/auth/logout
authenticated   GET     /api/v1/auth/sessions
authenticated   DELETE  /api/v1/auth/sessions
authenticated   DELETE  /api/v1/auth/sessions/{session}
authenticated   GET     /api/v1/auth/me
authenticated   PATCH   /api/v1/auth/me
authenticated   POST    /api/v1/auth/password
public          POST    /api/v1/auth/password/forgot
one-time token  POST    /api/v1/auth/password/reset
authenticated   POST    /api/v1/auth/email/send
one-time token  POST    /api/v1/auth/email/verify
one-time token  POST    /api/v1/auth/setup
admin           GET     /api/v1/users
admin           POST    /api/v1/users
admin           GET     /api/v1/users/{user}
admin           PATCH   /api/v1/users/{user}
admin           DELETE  /api/v1/users/{user}
admin           POST    /api/v1/users/{user}/reset
admin           DELETE  /api/v1/users/{user}/sessions
authenticated   GET     /api/v1/auth/keys
authenticated   POST    /api/v1/auth/keys
authenticated   DELETE  /api/v1/auth/keys/{key}
authenticated   POST    /api/v1/auth/totp
authenticated   POST    /api/v1/auth/totp/confirm
authenticated   POST    /api/v1/auth/totp/remove
network admin   GET     /api/v1/audit
one-time token  POST    /api/v1/enrol
"""
"""`network admin` is the policy admin for the admins of one network too: the route then guards the network it is about."""
ENDLESS = "/api/v1/live"
REFUSED_BY_THEMSELVES = {
    "POST /api/v1/auth/refresh": "without a refresh token",
    "GET /api/v1/gateways": "to who is an operator of no network",
    "GET /api/v1/audit": "to an admin of a network who does not name it",
}
"""Routes that answer 401 or 403 to who passes their policy, for a reason of their own."""
PUSH = "/api/v1/push/"
"""Their key is in the path, for firmwares that know no headers: a wrong one is not found. Their body is the firmware's own."""
ENDS_ITS_SESSION = "POST /api/v1/auth/logout"
EXTRA = (
    *("id", "role", "network", "created", "created_ms", "verified", "verified_ms", "email_verified", "disabled", "account"),
    *("owner", "admin", "key", "hash", "password_ms", "scopes", "gateway", "networks", "__proto__"),
)
OWNED = {"network": "/networks/", "station": "/stations/", "gateway": "/gateways/", "account": "/users/", "sensor": "/sensors/"}
"""Names of fields of a body that are ids of something in a network."""


class Operation(Struct, frozen=True):
    """One operation of the document; `unknown`: for each parameter of its path an id that nothing has."""

    method: str
    path: str
    policy: str
    unknown: tuple[int | str, ...]
    schema: dict[str, Any] | None
    example: Any

    def at(self, *ids: int | str) -> str:
        left = iter(ids)
        return PARAMETER.sub(lambda _: str(next(left)), self.path)

    @property
    def named(self) -> str:
        return f"{self.method} {self.path}"


def table() -> dict[str, str]:
    """`GET /health` -> its policy, as entered."""
    rows = [line.rsplit(maxsplit=2) for line in TABLE.strip().splitlines()]
    return {f"{method} {path}": policy for policy, method, path in rows}


def declared() -> Iterator[tuple[str, str]]:
    for route in iter_route_contexts(application().routes):
        for method in route.methods or ():
            said = [("network admin" if allow.within else allow.policy.value) for allow in allows(route)]
            yield f"{method} {route.path}", ", ".join(said)


@cache
def operations() -> list[Operation]:
    """Every operation of the document, but the stream that never ends."""
    made: Any = document()
    policies = table()
    return [
        Operation(
            verb.upper(), path, policies.get(f"{verb.upper()} {path}", "not in the table"), _unknown(path, told),
            *_body(told, made["components"]["schemas"]),
        )
        for path, verbs in made["paths"].items()
        for verb, told in verbs.items()
        if path != ENDLESS
    ]  # fmt: skip


def _unknown(path: str, told: dict[str, Any]) -> tuple[int | str, ...]:
    kinds = {one["name"]: one["schema"].get("type", "string") for one in told.get("parameters", []) if one["in"] == "path"}
    return tuple(999_999 if kinds[name[1:-1]] == "integer" else "nobody-99" for name in PARAMETER.findall(path))


def _body(told: dict[str, Any], schemas: dict[str, Any]) -> tuple[dict[str, Any] | None, Any]:
    """The schema of an operation's JSON body and an example of it."""
    media = told.get("requestBody", {}).get("content", {}).get("application/json")
    if media is None:
        return None, None
    schema = media["schema"]
    example = media.get("example")
    while "$ref" in schema or "anyOf" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema["anyOf"][0]
    if "examples" in schema:
        return schema, schema["examples"][0]
    return schema, schema.get("example", {} if schema.get("properties") == {} else example)


@pytest.fixture(scope="module")
def place(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Face, Town]]:
    """One town for all walks: none of them may change it."""
    with open_face(migrated, tmp_path_factory.mktemp("town")) as face:
        town = settle_town(face)
        for key in town.keys.values():  # when it was first used is noted now, and then not for an hour
            face.get("/health", headers={"X-API-Key": key})
        yield face, town


Send = Callable[..., httpx2.Response]


@pytest.fixture
def send(place: tuple[Face, Town]) -> Send:
    """An operation as somebody: a name of the town, a key's owner with `key:`, or None."""
    face, town = place

    def sent(operation: Operation, who: str | None, ids: tuple[int | str, ...], body: Any = None) -> httpx2.Response:
        headers = {}
        if who is not None and who.startswith("key:"):
            headers = {"X-API-Key": town.keys[who.removeprefix("key:")]}
        elif who is not None:
            token = again(face, who) if operation.named == ENDS_ITS_SESSION and who in town.tokens else town.tokens.get(who, who)
            headers = {"Authorization": f"Bearer {token}"}
        given = {} if operation.schema is None else {"json": operation.example if body is None else body}
        return face.http.request(operation.method, operation.at(*ids), headers=headers, **given)

    return sent


def said(answer: httpx2.Response) -> Any:
    """A refusal as it is told, without what is new in each."""
    return (answer.status_code, {**answer.json(), "instance": ""} if answer.text.startswith("{") else answer.text)


def test_every_route_declares_exactly_the_policy_of_the_table() -> None:
    assert dict(declared()) == table()


def test_every_operation_with_a_body_shows_an_example() -> None:
    assert [one.named for one in operations() if one.schema is not None and one.example is None] == []


def test_every_path_with_an_id_is_one_whose_ids_the_walks_know(place: tuple[Face, Town]) -> None:
    _, town = place
    unwalked = [one.named for one in operations() if not all(town.ids(one.path, "b"))]
    assert unwalked == []


@pytest.mark.parametrize("who", [None, "x.y.z", "vic", "ann", "root", "key:gate-a1"])
def test_a_caller_passes_only_the_policies_for_them(who: str | None, send: Send) -> None:
    """With ids that nothing has and a body that is empty: who passes the policy meets a 404 or a 422, and changes nothing."""
    wrong: list[Any] = []
    for one in operations():
        got = send(one, who, one.unknown, [] if (one.schema or {}).get("type") == "array" else {}).status_code
        if one.named in REFUSED_BY_THEMSELVES and got in (401, 403):
            continue
        expected = verdict(who, one)
        if (got if got in (401, 403) else 0) not in expected:
            wrong.append((one.named, one.policy, got, expected))
    assert wrong == []


def verdict(who: str | None, one: Operation) -> tuple[int, ...]:
    """401, 403, or 0 for whoever passes the policy. Several: the route decides by what it is about."""
    if one.path.startswith(PUSH):
        return (401,) if who == "x.y.z" else (0, 403)
    if who == "x.y.z":
        return (401,)
    if who == "key:gate-a1":
        return (0,) if one.policy == Policy.GATEWAY_KEY else (403, 0) if one.policy == Policy.ONE_TIME_TOKEN else (403,)
    if one.policy in (Policy.PUBLIC, Policy.ONE_TIME_TOKEN):
        return (0,)
    if who is None:
        return (401,)
    if who == "root" or one.policy == Policy.AUTHENTICATED:
        return (0,)
    if one.policy == Policy.GATEWAY_KEY:
        return (0, 403)
    return (0,) if (who, one.policy) == ("ann", "network admin") else (403,)


@pytest.mark.parametrize("who", [None, "x.y.z"])
def test_who_may_not_call_a_route_is_refused_before_the_body_is_looked_at(who: str | None, place: tuple[Face, Town]) -> None:
    face, _ = place
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {who}"} if who else {})
    closed = [one for one in operations() if one.schema is not None and 0 not in verdict(who, one)]
    answers = {one.named: face.http.request(one.method, one.at(*one.unknown), content="{", headers=headers) for one in closed}
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 401)
    assert len(answers) > 20


@pytest.mark.parametrize("who", ["ann", "vic", "key:ann", None])
def test_what_belongs_to_others_answers_as_what_does_not_exist(who: str | None, place: tuple[Face, Town], send: Send) -> None:
    """A's people and strangers on the objects of the private network B and of its people: not found, and nothing changes."""
    face, town = place
    before = content(face.database, *WALKED)
    wrong: list[Any] = []
    for one in operations():
        foreign = town.ids(one.path, "b")
        if not one.unknown or one.policy == Policy.GATEWAY_KEY:  # a key in a path is what shows who calls
            continue
        other = tuple(found[0] for found in foreign)
        ways = [(other, one.unknown)]
        if len(other) > 1:  # one's own outside, another's inside
            own = tuple(found[0] for found in town.ids(one.path, "a"))
            ways.append(((*own[:-1], other[-1]), (*own[:-1], one.unknown[-1])))
        for theirs, nobodys in ways:
            there, nowhere = said(send(one, who, theirs)), said(send(one, who, nobodys))
            if there != nowhere or there[0] not in (401, 403, 404):
                wrong.append((one.named, there, nowhere))
            if who == "ann" and one.policy != Policy.ADMIN and there[0] != 404:
                wrong.append((one.named, there, "not a 404"))
    assert wrong == []
    assert content(face.database, *WALKED) == before


@pytest.mark.parametrize("who", ["ann", "key:ann"])
def test_a_body_that_names_what_belongs_to_others_is_refused_as_if_it_named_nothing(
    who: str, place: tuple[Face, Town], send: Send
) -> None:
    face, town = place
    before = content(face.database, *WALKED)
    wrong: list[Any] = []
    for one in operations():
        for field, prefix in OWNED.items():
            if field not in ((one.schema or {}).get("properties") or {}) or not isinstance(one.example, dict):
                continue
            [theirs, *_] = town.known["b"][prefix]
            own = tuple(found[0] for found in town.ids(one.path, "a"))
            there = said(send(one, who, own, {**one.example, field: theirs}))
            nowhere = said(send(one, who, own, {**one.example, field: 999_999 if isinstance(theirs, int) else "nobody-99"}))
            if there != nowhere or not 400 <= there[0] < 500:
                wrong.append((one.named, field, there, nowhere))
    assert wrong == []
    assert content(face.database, *WALKED) == before


def test_a_field_that_nobody_gives_is_refused_by_its_name(place: tuple[Face, Town], send: Send) -> None:
    """Mass assignment: what a body has beside its schema is never ignored, even where the hub has a column of that name."""
    face, town = place
    before = content(face.database, *WALKED)
    wrong: list[Any] = []
    for one in operations():
        if one.schema is None or not isinstance(one.example, dict) or one.path.startswith(PUSH):
            continue
        own = tuple(found[0] for found in town.ids(one.path, "a"))
        extra = [name for name in EXTRA if name not in (one.schema.get("properties") or {})]
        answer = send(one, "root", own, {**one.example, **dict.fromkeys(extra, 1)})
        named = {error["name"] for error in answer.json().get("errors", [])} if answer.status_code == 422 else set()
        if missing := set(extra) - named:
            wrong.append((one.named, answer.status_code, sorted(missing)))
    assert wrong == []
    assert content(face.database, *WALKED) == before


WALKED = ("network", "gateway", "station", "sensor", "deployment", "account", "membership", "api_key", "recovery_code")
