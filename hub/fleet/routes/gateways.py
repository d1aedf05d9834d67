"""/gateways: made, invited, revoked, and their keys. How they are doing: hub/front/routes.py."""

from time import time_ns

from fastapi import APIRouter, Request, Response
from msgspec import Struct

from hub import problems
from hub.answers import Json, described, listing, rfc3339
from hub.auth import keys
from hub.auth.callers import Scope
from hub.auth.guard import Asking, Guarded
from hub.auth.keys import ApiKey, NewKey
from hub.auth.tokens import NetworkRole
from hub.context import Context, Opened
from hub.database import tables
from hub.fleet import broker
from hub.fleet.enrolment import TOKEN_LIFE_MS, withdraw
from hub.fleet.gateways import Gateway, Invited, add, gateways, invite
from hub.fleet.networks import owned, unique
from hub.fleet.routes.fields import NewGateway, NewGatewayKey, Nothing
from hub.fleet.routes.lists import NOON, WITHIN, Id, Meta, Name, Noting, known, only
from hub.problems import Problem
from readings.errors import Retry

router = APIRouter(route_class=Guarded, tags=["gateways"], dependencies=[WITHIN])
GATEWAY = Gateway(1, "unilag-01", 1, "edge", "enrolled", 1, NOON, None, NOON, True, 2)
TOKEN = "385c468e048b7a4c62342ee79d2991d0f6f1e40a673716d1"  # noqa: S105  # an example
INVITED = Invited(
    Gateway(2, "unilag-02", 1, "edge", "invited", 0, None, None, None, False, 0),
    TOKEN,
    f"sudo harmattan-edge enrol https://hub.example.org {TOKEN}",
    NOON,
)
KEY = ApiKey(4, "school yard", ["ingest"], "9f2c41", NOON, None, None)
NEW_KEY = NewKey(4, "school yard", ["ingest"], "9f2c41", NOON, None, None, "9f2c41" + "0" * 58)
UNSTORED = {"Cache-Control": "no-store"}


class Keys(Struct, frozen=True):
    results: list[ApiKey]
    meta: Meta


@router.post(
    "/gateways", status_code=201, summary="Make a gateway, and a token to enrol it with",
    responses={201: described(Invited, example=INVITED)[200]},
)  # fmt: skip
def make_gateway(body: NewGateway, request: Request, context: Opened, caller: Asking) -> Response:
    """One of kind push has no daemon: it needs no token, its sensors post with a key."""
    note, now_ms, token = Noting(request, caller), time_ns() // 1_000_000, None
    with unique("gateway"), context.database.write() as connection:
        owned(connection, caller, tables.network, body.network, NetworkRole.ADMIN)
        add(connection, body.name, body.network, body.kind, body.visibility, now_ms)
        row = owned(connection, caller, tables.gateway, body.name, NetworkRole.ADMIN)
        if body.kind == "edge":
            token = invite(connection, row, now_ms)
        note(connection, "gateway.add", f"gateway:{body.name}", body.network, kind=body.kind, visibility=body.visibility)
    return _invited(request, context, body.name, token, now_ms)


@router.post(
    "/gateways/{name}/invite", status_code=201, summary="A new token for a gateway that is not enrolled, or was revoked",
    responses={201: described(Invited, example=INVITED)[200]},
)  # fmt: skip
def invite_again(name: Name, request: Request, context: Opened, caller: Asking, body: Nothing | None = None) -> Response:
    note, now_ms = Noting(request, caller), time_ns() // 1_000_000
    with context.database.write() as connection:
        row = owned(connection, caller, tables.gateway, name, NetworkRole.ADMIN, hold=True)
        token = invite(connection, row, now_ms)
        note(connection, "gateway.invite", f"gateway:{name}", row.network)
    return _invited(request, context, name, token, now_ms)


@router.post("/gateways/{name}/revoke", status_code=204, summary="Refuse a gateway from now on, and all its keys")
def revoke(name: Name, request: Request, context: Opened, caller: Asking, body: Nothing | None = None) -> Response:
    note = Noting(request, caller)
    with context.database.write() as connection:
        row = owned(connection, caller, tables.gateway, name, NetworkRole.ADMIN, hold=True)
        withdraw(connection, row.id)
        note(connection, "gateway.revoke", f"gateway:{name}", row.network)
    request.app.state.callers.forget()
    if row.kind == "edge" and row.enrolled_ms is not None:
        try:
            broker.remove(context.settings.broker, name)
        except Retry as error:
            raise Problem(problems.UNAVAILABLE, f"the hub refuses it; {error}", headers={"Retry-After": "30"}) from error
    return Response(status_code=204)


@router.get(
    "/gateways/{name}/keys", summary="API keys of a gateway", responses=described(Keys, example=Keys([KEY], Meta(100, None))),
)  # fmt: skip
def list_keys(name: Name, request: Request, context: Opened, caller: Asking) -> Response:
    with context.database.read() as connection:
        row = owned(connection, caller, tables.gateway, name, NetworkRole.ADMIN)
        found = keys.listed(connection, gateway=row.id)
    return listing(request, found, limit=keys.PER_OWNER, following=None)


@router.post(
    "/gateways/{name}/keys", status_code=201, summary="An API key with which a gateway's sensors post",
    responses={201: described(NewKey, example=NEW_KEY)[200]},
)  # fmt: skip
def make_key(name: Name, body: NewGatewayKey, request: Request, context: Opened, caller: Asking) -> Response:
    note = Noting(request, caller)
    with context.database.write() as connection:
        row = owned(connection, caller, tables.gateway, name, NetworkRole.ADMIN, hold=True)
        if row.revoked_ms is not None:
            raise Problem(problems.NOT_THIS_GATEWAY, "it was revoked")
        made, key = keys.issue(connection, name=body.name, scopes=[Scope.INGEST], gateway=row.id, expires_ms=body.expires_ms)
        told = keys.told(connection, made, key)
        note(connection, "gateway.key_add", f"gateway:{name}", row.network, number=made, name=body.name)
    return Json(told, 201, headers=UNSTORED)


@router.delete("/gateways/{name}/keys/{key}", status_code=204, summary="End an API key of a gateway")
def end_key(name: Name, key: Id, request: Request, context: Opened, caller: Asking) -> Response:
    note = Noting(request, caller)
    with context.database.write() as connection:
        row = owned(connection, caller, tables.gateway, name, NetworkRole.ADMIN)
        if not keys.revoke(connection, known(key), gateway=row.id):
            raise Problem(problems.NOT_FOUND)
        note(connection, "gateway.key_revoke", f"gateway:{name}", row.network, number=key)
    request.app.state.callers.forget()
    return Response(status_code=204)


def _invited(request: Request, context: Context, name: str, token: str | None, now_ms: int) -> Response:
    with context.database.read() as connection:
        made: Gateway = only(gateways(connection, name=name))
    url = context.settings.public_url or str(request.base_url).rstrip("/")
    command = None if token is None else f"sudo harmattan-edge enrol {url} {token}"
    expires = None if token is None else rfc3339(now_ms + TOKEN_LIFE_MS)
    return Json(Invited(made, token, command, expires), 201, headers=UNSTORED)
