"""/stations/{id}/deployments, /sensors/{id}/deployments, and what makes them: to move a sensor or a gateway, to swap a sensor."""

from fastapi import APIRouter, Request, Response
from msgspec import Struct

from hub.answers import Json, cursor, described, listing, place, rfc3339
from hub.auth.guard import Asking, Guarded
from hub.auth.tokens import Caller, NetworkRole
from hub.context import Context, Opened
from hub.database import tables
from hub.fleet.deployments import Deployment, history, hold, move, since
from hub.fleet.networks import owned
from hub.fleet.routes.fields import Move, Swap
from hub.fleet.routes.lists import KNOWN, NOON, PUBLIC, Cursor, Id, Kept, Limit, Meta, Name, Noting, known, only
from hub.fleet.routes.sensors import SENSOR
from hub.fleet.sites import standing_sensors, target
from hub.fleet.stations import Sensor, sensors, stations
from hub.fleet.swaps import Described, take_over
from hub.terms import ONCE

router = APIRouter(route_class=Guarded)
DEPLOYMENT = Deployment(3, 1, NOON, None, 2.5, False)


class Deployments(Struct, frozen=True):
    results: list[Deployment]
    meta: Meta


class Moved(Struct, frozen=True, rename={"from_": "from"}):
    """How many sensors stood elsewhere before."""

    station: int
    from_: str
    sensors: int


@router.get(
    "/stations/{station}/deployments", tags=["stations"], dependencies=[PUBLIC], summary="What stood here, and when",
    responses=described(Deployments, example=Deployments([DEPLOYMENT], Meta(100, None))),
)  # fmt: skip
def station_history(
    station: Id, request: Request, context: Opened, caller: Asking, kept: Kept, limit: Limit = 100, at: Cursor = None
) -> Response:
    only(stations(context.database, caller, kept, only=known(station)))
    return _history(request, context, caller, limit, at, station_id=station)


@router.get(
    "/sensors/{sensor}/deployments", tags=["sensors"], dependencies=[PUBLIC], summary="Where a sensor stood, and when",
    responses=described(Deployments, example=Deployments([DEPLOYMENT], Meta(100, None))),
)  # fmt: skip
def sensor_history(
    sensor: Id, request: Request, context: Opened, caller: Asking, limit: Limit = 100, at: Cursor = None
) -> Response:
    with context.database.read() as connection:
        only(sensors(connection, caller, only=known(sensor)))
    return _history(request, context, caller, limit, at, sensor_id=sensor)


@router.post(
    "/sensors/{sensor}/move", tags=["sensors"], dependencies=[KNOWN, ONCE],
    summary="A sensor stands at another station from a time on", responses=described(Sensor, example=SENSOR),
)  # fmt: skip
def move_sensor(sensor: Id, body: Move, request: Request, context: Opened, caller: Asking) -> Response:
    """Its open deployment is closed at that time and the next one opened; what was measured before stays the other station's."""
    note, from_ms = Noting(request, caller), since(body.from_ms)
    with context.database.write() as connection:
        row = owned(connection, caller, tables.sensor, known(sensor), NetworkRole.OPERATOR)
        hold(connection, [row.id])
        to = owned(connection, caller, tables.station, body.station, NetworkRole.OPERATOR, hold=True)
        if move(connection, [row.id], target(to, row.network), from_ms):
            note(connection, "sensor.move", f"sensor:{row.id}", row.network, station=to.id, at=rfc3339(from_ms))
    with context.database.read() as connection:
        return Json(only(sensors(connection, caller, only=sensor)))


@router.post(
    "/gateways/{name}/move", tags=["gateways"], dependencies=[KNOWN, ONCE],
    summary="All sensors of a gateway stand elsewhere from a time on", responses=described(Moved, example=Moved(2, NOON, 3)),
)  # fmt: skip
def move_gateway(name: Name, body: Move, request: Request, context: Opened, caller: Asking) -> Response:
    """All of them or none. What the gateway's file says of its site does not undo it, until it names another one."""
    note, from_ms = Noting(request, caller), since(body.from_ms)
    with context.database.write() as connection:
        row = owned(connection, caller, tables.gateway, name, NetworkRole.OPERATOR)
        sensor_ids = standing_sensors(connection, row.id)
        hold(connection, sensor_ids)
        to = owned(connection, caller, tables.station, body.station, NetworkRole.OPERATOR, hold=True)
        moved = move(connection, sensor_ids, target(to, row.network), from_ms)
        if moved:
            said = {"station": to.id, "at": rfc3339(from_ms), "sensors": moved}
            note(connection, "gateway.move", f"gateway:{row.name}", row.network, **said)
    return Json(Moved(to.id, rfc3339(from_ms), moved))


@router.post(
    "/sensors/{sensor}/swap", tags=["sensors"], dependencies=[KNOWN, ONCE], status_code=201,
    summary="Another device takes a sensor's place", responses={201: described(Sensor, example=SENSOR)[200]},
)  # fmt: skip
def swap(sensor: Id, body: Swap, request: Request, context: Opened, caller: Asking) -> Response:
    """A new sensor answers to the gateway's name for it from that time on; the old one keeps its samples and its history."""
    note, from_ms = Noting(request, caller), since(body.from_ms)
    with context.database.write() as connection:
        row = owned(connection, caller, tables.sensor, known(sensor), NetworkRole.OPERATOR)
        made = take_over(connection, row.id, Described(body.maker, body.model, body.serial), from_ms)
        note(connection, "sensor.swap", f"sensor:{row.id}", row.network, by=made, serial=body.serial, at=rfc3339(from_ms))
    with context.database.read() as connection:
        return Json(only(sensors(connection, caller, only=made)), 201)


def _history(
    request: Request,
    context: Context,
    caller: Caller | None,
    limit: int,
    at: str | None,
    *,
    station_id: int | None = None,
    sensor_id: int | None = None,
) -> Response:
    after = place(at, "deployments", 2) if at else None
    with context.database.read() as connection:
        found, last = history(connection, caller, sensor_id=sensor_id, station_id=station_id, after=after, limit=limit)
    return listing(request, found, limit=limit, following=None if last is None else cursor("deployments", *last))
