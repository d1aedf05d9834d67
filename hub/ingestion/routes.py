"""/ingest, /push, /networks/{network}/rejects: values that come over HTTP, and those that were not taken."""

from collections.abc import Mapping
from hashlib import sha256
from time import time_ns
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from msgspec import Struct
from sqlalchemy import exists, select

from hub import problems
from hub.answers import Json, cursor, described, listing, place
from hub.auth.callers import Callers, Known, Scope
from hub.auth.guard import Allow, Asking, Guarded, Policy, guard, required
from hub.auth.tokens import Caller, NetworkRole
from hub.cache import Limits
from hub.context import Opened
from hub.database.tables import network as networks
from hub.fleet.routes.lists import Cursor, Id, Limit, Meta, known
from hub.ingestion.intake import Intake, Result, Verdicts, summed
from hub.ingestion.push import AIRGRADIENT, AIRROHR, Kind, row_of
from hub.ingestion.refusals import Refused
from hub.ingestion.rejects import Reject, rejects
from hub.problems import Problem
from hub.terms import Body, too_many

router = APIRouter(route_class=Guarded, tags=["ingest"])
KEY = Depends(Allow(Policy.GATEWAY_KEY))
MEMBER = Depends(Allow(Policy.AUTHENTICATED))
BODY_BYTES = 8 << 20
PUSHES = (120, 60)
"""Posts of one key in so many seconds: devices post every one to five minutes, a key may have dozens."""
EXAMPLE = [
    {
        "sensor": "unilag-01/roof",
        "time": "2026-11-24T22:00:00Z",
        "values": {"pm2_5": 12.3, "temperature": 27.5},
        "units": {"pm2_5": "ug/m3", "temperature": "degC"},
    }
]
ROW = {
    "type": "object",
    "required": ["sensor", "time", "values"],
    "additionalProperties": False,
    "properties": {
        "sensor": {"type": "string", "description": "<local id> with a gateway's key, else <gateway>/<local id>"},
        "time": {"type": "string", "format": "date-time"},
        "values": {"type": "object", "additionalProperties": {"type": ["number", "null"]}},
        "units": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
ROWS = {"requestBody": {"required": True, "content": {"application/json": {
    "schema": {"type": "array", "maxItems": 10_000, "items": ROW}, "example": EXAMPLE,
}}}}  # fmt: skip


def _posted(example: dict[str, Any]) -> dict[str, Any]:
    """A body as a firmware posts it: whatever object, of which the known names are read."""
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}, "example": example}}}
    }


AN_AIRROHR = _posted(
    {
        "esp8266id": "1234567",
        "software_version": "NRZ-2020-133",
        "sensordatavalues": [{"value_type": "SDS_P1", "value": "20.10"}, {"value_type": "SDS_P2", "value": "12.30"}],
    }
)
VALUES = {"wifi": -61, "pm02": 12.3, "pm10": 20.1, "rco2": 415, "atmp": 28.4, "rhum": 71}
AN_AIRGRADIENT, AN_AIRGRADIENT_STOCK = _posted({"serialno": "84fce612f5b8", **VALUES}), _posted(VALUES)
DONE = described(Verdicts, example=Verdicts([Result(0, "stored")], {"stored": 1, "duplicate": 0, "revised": 0, "refused": 0}))
REJECT = Reject(
    7, "2026-11-24T22:00:01.000Z", "unilag-01", "/ingest", "roof", "unit_missing", "pm2_5 has no unit; its own is ug/m3", "{}"
)
PathKey = Annotated[str, Path(max_length=200, description="An API key of the gateway, with the scope ingest.")]
Serial = Annotated[str, Path(max_length=100, description="The device's serial number, as its firmware writes it.")]


class Rejects(Struct, frozen=True):
    results: list[Reject]
    meta: Meta


async def body_of(request: Request) -> bytes:
    """The whole body, as it came."""
    return await request.body()


async def intake_of(request: Request) -> Intake:
    found: Intake = request.app.state.intake
    return found


Came = Annotated[bytes, Depends(body_of)]
Door = Annotated[Intake, Depends(intake_of)]


@router.post(
    "/ingest", dependencies=[KEY, Depends(Body(BODY_BYTES))], summary="Store rows; each gets its verdict",
    responses=DONE, openapi_extra=ROWS,
)  # fmt: skip
def ingest(request: Request, caller: Asking, door: Door, body: Came) -> Response:
    media = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media != "application/json" and not media.endswith("+json"):
        raise Problem(problems.MEDIA)
    return Json(door.take(required(caller), body))


@router.post(
    "/push/airrohr/{key}", dependencies=[KEY], summary="An airrohr (sensor.community) posts here",
    responses=DONE, openapi_extra=AN_AIRROHR,
)  # fmt: skip
def push_airrohr(key: PathKey, request: Request, door: Door, body: Came) -> Response:
    return _pushed(AIRROHR, "/push/airrohr", key, request, door, body, request.headers)


@router.post(
    "/push/airgradient/{key}", dependencies=[KEY], summary="An AirGradient posts here",
    responses=DONE, openapi_extra=AN_AIRGRADIENT,
)  # fmt: skip
def push_airgradient(key: PathKey, request: Request, door: Door, body: Came) -> Response:
    return _pushed(AIRGRADIENT, "/push/airgradient", key, request, door, body, {})


@router.post(
    "/push/airgradient/{key}/sensors/{serial}/measures", dependencies=[KEY],
    summary="An AirGradient posts here by its own firmware, told to use another domain",
    responses=DONE, openapi_extra=AN_AIRGRADIENT_STOCK,
)  # fmt: skip
def push_airgradient_stock(key: PathKey, serial: Serial, request: Request, door: Door, body: Came) -> Response:
    return _pushed(AIRGRADIENT, "/push/airgradient", key, request, door, body, {"serial": serial})


@router.get(
    "/networks/{network}/rejects", dependencies=[MEMBER], summary="Rows that were not taken, the newest first",
    responses=described(Rejects, example=Rejects([REJECT], Meta(100, None))),
)  # fmt: skip
def list_rejects(
    network: Id, request: Request, context: Opened, caller: Asking, limit: Limit = 100, at: Cursor = None
) -> Response:
    before = place(at, "rejects", 1)[0] if at else None
    with context.database.read() as connection:
        guard(caller, Policy.AUTHENTICATED, known(network), least=NetworkRole.OPERATOR)
        if not connection.execute(select(exists().where(networks.c.id == network))).scalar():
            raise Problem(problems.NOT_FOUND)
        found = rejects(connection, network, before=before, limit=limit + 1)
    following = cursor("rejects", found[limit - 1].id) if len(found) > limit else None
    return listing(request, found[:limit], limit=limit, following=following)


def _pushed(kind: Kind, route: str, key: str, request: Request, door: Intake, body: bytes, told: Mapping[str, Any]) -> Response:
    """200 for a body that was read, also where it had nothing to store: a firmware takes anything else for a failure."""
    caller = _gateway_of(request, key)
    limits: Limits = request.app.state.limits
    verdict = limits.hit("push", sha256(key.encode()).hexdigest(), per=PUSHES)
    if not verdict.allowed:
        raise too_many(verdict.reset_s, f"push: {PUSHES[0]} in {PUSHES[1]} s with one key")
    now_ms = time_ns() // 1_000_000
    try:
        with door.database.read() as connection:
            row = row_of(kind, connection, caller, body, told, now_ms)
    except Refused as error:
        door.refuse(caller, route, error, body, now_ms)
        raise Problem(problems.INVALID, error.why, errors=[{"in": "body", "name": error.code, "why": error.hint}]) from error
    results = [Result(0, verdict) for verdict in door.store([] if row is None else [row], [], now_ms)]
    return Json(summed(results))


def _gateway_of(request: Request, key: str) -> Caller:
    """The gateway of a key in the path. A wrong one answers like an address that is not there. Raises Problem."""
    callers: Callers = request.app.state.callers
    try:
        found: Known = callers.of_key(key)
    except Problem as error:
        raise Problem(problems.NOT_FOUND) from error
    if found.caller.gateway is None or (found.scopes is not None and not found.scopes & {Scope.INGEST, Scope.WRITE}):
        raise Problem(problems.NOT_FOUND)
    return found.caller
