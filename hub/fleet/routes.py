"""/stations, /sensors, /gateways, /enrol: who is there, where it stands, and how a gateway comes in."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field

from hub import problems
from hub.answers import Json, cursor, described, listing, place, tagged
from hub.auth.guard import Allow, Asking, Policy, everywhere, guard
from hub.auth.secrets import hub_secret
from hub.auth.tokens import Caller, NetworkRole
from hub.context import Opened
from hub.fleet import enrolment
from hub.fleet.category import Categories, Index
from hub.fleet.enrolment import Credential
from hub.fleet.gateways import Gateway, gateways, named, network_of
from hub.fleet.stations import ChannelView, Sensor, Station, sensors, stations
from hub.problems import Problem
from hub.store.values import values_of

router = APIRouter()
PUBLIC, ONCE = Depends(Allow(Policy.PUBLIC)), Depends(Allow(Policy.ONE_TIME_TOKEN))
ADMIN = Depends(Allow(Policy.ADMIN, within=True))
HIGHEST_ID = (1 << 63) - 1

Limit = Annotated[int, Query(ge=1, le=1000, description="At most this many, 1 to 1000.")]
Cursor = Annotated[str | None, Query(alias="cursor", max_length=200, description="Goes on where a list ended: its meta.next.")]
Id = Annotated[int, Path(description="An id from a list.")]


class Meta(Struct, frozen=True):
    """`next` is the cursor of what follows, null at the end."""

    limit: int
    next: str | None


class Stations(Struct, frozen=True):
    results: list[Station]
    meta: Meta


class Sensors(Struct, frozen=True):
    results: list[Sensor]
    meta: Meta


class Gateways(Struct, frozen=True):
    results: list[Gateway]
    meta: Meta


class Token(BaseModel):
    """What a gateway sends once."""

    model_config = ConfigDict(json_schema_extra={"example": {"token": "385c468e048b7a4c62342ee79d2991d0f6f1e40a673716d1"}})

    token: Annotated[str, Field(max_length=200)]


NOON = "2026-11-24T12:00:00.000Z"
SAMPLE = values_of(1_795_521_600_000, [("pm2_5", "ug/m3"), ("pm10", "ug/m3")], "[12.3,20.1]", None)
CHANNELS = [ChannelView(name, "ug/m3", "ambient", 0, 1.0) for name in ("pm2_5", "pm10")]
SENSOR = Sensor(
    3, "unilag-01/pm", "plantower", "pms5003", None, "plantower.pms5003", None, 1, CHANNELS,
    ["pm10 of optical counters under-reads coarse dust"], SAMPLE, NOON, "ok", 1,
)  # fmt: skip
INDEX = Index(28.4, 87, "moderate", None, 0.92, NOON)
STATION = Station(
    1, "UNILAG gate", 6.5158, 3.3898, 12.0, "Africa/Lagos", "public", NOON, [SENSOR], INDEX, 1, "CC-BY-4.0", "UNILAG",
)  # fmt: skip
GATEWAY = Gateway(1, "unilag-01", "enrolled", 1, NOON, None, NOON, 2)
CREDENTIAL = Credential("unilag-01", "<64 hex digits>", "<64 hex digits>", 1)


async def categories_of(request: Request) -> Categories:
    found: Categories = request.app.state.categories
    return found


Kept = Annotated[Categories, Depends(categories_of)]


@router.get(
    "/stations", tags=["stations"], dependencies=[PUBLIC], summary="Stations with their sensors and newest values",
    responses=described(Stations, example=Stations([STATION], Meta(100, None))),
)  # fmt: skip
def list_stations(
    request: Request, context: Opened, caller: Asking, kept: Kept, limit: Limit = 100, at: Cursor = None
) -> Response:
    after = place(at, "stations", 1)[0] if at else 0
    found = stations(context.database, caller, kept, after=after, limit=limit + 1)
    following = cursor("stations", found[limit - 1].id) if len(found) > limit else None
    return listing(request, found[:limit], limit=limit, following=following)


@router.get(
    "/stations/{station}", tags=["stations"], dependencies=[PUBLIC], summary="One station",
    responses=described(Station, example=STATION),
)  # fmt: skip
def one_station(station: Id, context: Opened, caller: Asking, kept: Kept) -> Response:
    return Json(_one(stations(context.database, caller, kept, only=known(station))))


@router.get(
    "/sensors", tags=["sensors"], dependencies=[PUBLIC], summary="Sensors with their channels and newest values",
    responses=described(Sensors, example=Sensors([SENSOR], Meta(100, None))),
)  # fmt: skip
def list_sensors(
    request: Request,
    context: Opened,
    caller: Asking,
    name: Annotated[str | None, Query(max_length=100, description="<gateway>/<local id>: this sensor alone.")] = None,
    limit: Limit = 100,
    at: Cursor = None,
) -> Response:
    after = place(at, "sensors", 1)[0] if at else 0
    with context.database.read() as connection:
        wanted = None if name is None else name.replace("\0", "")
        found = sensors(connection, caller, after=after, limit=limit + 1, name=wanted)
    following = cursor("sensors", found[limit - 1].id) if len(found) > limit else None
    return listing(request, found[:limit], limit=limit, following=following)


@router.get(
    "/sensors/{sensor}", tags=["sensors"], dependencies=[PUBLIC], summary="One sensor",
    responses=described(Sensor, example=SENSOR),
)  # fmt: skip
def one_sensor(sensor: Id, context: Opened, caller: Asking) -> Response:
    with context.database.read() as connection:
        return Json(_one(sensors(connection, caller, only=known(sensor))))


@router.get(
    "/gateways", tags=["gateways"], dependencies=[ADMIN], summary="Gateways and whether they may speak",
    responses=described(Gateways, example=Gateways([GATEWAY], Meta(100, None))),
)  # fmt: skip
def list_gateways(request: Request, context: Opened, caller: Asking, limit: Limit = 100, at: Cursor = None) -> Response:
    after = place(at, "gateways", 1)[0] if at else 0
    with context.database.read() as connection:
        found = gateways(connection, networks=administered(caller), after=after, limit=limit + 1)
    following = cursor("gateways", found[limit - 1].id) if len(found) > limit else None
    return listing(request, found[:limit], limit=limit, following=following)


@router.get(
    "/gateways/{name}", tags=["gateways"], dependencies=[ADMIN], summary="One gateway",
    responses=described(Gateway, example=GATEWAY),
)  # fmt: skip
def one_gateway(name: str, request: Request, context: Opened, caller: Asking) -> Response:
    with context.database.read() as connection:
        guard(caller, Policy.ADMIN, network_of(connection, name))
        return tagged(request, _one([named(connection, name)]))


@router.post(
    "/enrol", tags=["gateways"], dependencies=[ONCE], summary="A one-time token becomes this gateway's credential file",
    responses=described(Credential, example=CREDENTIAL),
)  # fmt: skip
def enrol(given: Token, context: Opened) -> Response:
    settings = context.settings
    secret = hub_secret(settings.data_dir)
    made = enrolment.redeem(context.database, given.token, secret=secret, broker_dir=settings.broker)
    return Json(made, headers={"Cache-Control": "no-store"})


def administered(caller: Caller | None) -> list[int] | None:
    """The networks that a caller is an admin of; None for all."""
    if everywhere(caller):
        return None
    return [network for network, role in ((caller and caller.networks) or {}).items() if role is NetworkRole.ADMIN]


def known(number: int) -> int:
    """An id that a table could hold; any other is as unknown as one that is not there. Raises Problem."""
    if not 0 < number <= HIGHEST_ID:
        raise Problem(problems.NOT_FOUND)
    return number


def _one(found: Sequence[Any]) -> Any:
    if not found or found[0] is None:
        raise Problem(problems.NOT_FOUND)
    return found[0]
