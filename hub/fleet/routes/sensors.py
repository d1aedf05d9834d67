"""/sensors: what measures, with which channels, and its newest values; made, described and removed."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from msgspec import Struct

from hub.answers import Json, cursor, described, listing, place
from hub.auth.guard import Asking, Guarded
from hub.auth.tokens import NetworkRole
from hub.context import Opened
from hub.database import tables
from hub.fleet.deployments import hold, move, since
from hub.fleet.networks import owned, unique
from hub.fleet.routes.fields import NewSensor, SensorChange, given
from hub.fleet.routes.lists import KNOWN, NOON, PUBLIC, Cursor, Id, Limit, Meta, Noting, known, only
from hub.fleet.sites import add_sensor, change_sensor, remove_sensor, target
from hub.fleet.stations import ChannelView, Sensor, sensors
from hub.store.values import values_of
from hub.terms import ONCE

router = APIRouter(route_class=Guarded, tags=["sensors"])
SAMPLE = values_of(1_795_521_600_000, [("pm2_5", "ug/m3"), ("pm10", "ug/m3")], "[12.3,20.1]", None)
CHANNELS = [ChannelView(name, "ug/m3", "ambient", 0, 1.0) for name in ("pm2_5", "pm10")]
SENSOR = Sensor(
    3, "unilag-01/pm", "plantower", "pms5003", None, "plantower.pms5003", None, 1, CHANNELS,
    ["pm10 of optical counters under-reads coarse dust"], SAMPLE, NOON, "ok", 1,
)  # fmt: skip


class Sensors(Struct, frozen=True):
    results: list[Sensor]
    meta: Meta


@router.get(
    "/sensors", dependencies=[PUBLIC], summary="Sensors with their channels and newest values",
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


@router.post(
    "/sensors", dependencies=[KNOWN, ONCE], status_code=201, summary="Make a sensor known before it first speaks",
    responses={201: described(Sensor, example=SENSOR)[200]},
)  # fmt: skip
def make_sensor(body: NewSensor, request: Request, context: Opened, caller: Asking) -> Response:
    note, at = Noting(request, caller), since(None)
    with unique("sensor"), context.database.write() as connection:
        owner = owned(connection, caller, tables.gateway, body.gateway, NetworkRole.OPERATOR)
        made = add_sensor(connection, owner, body.model_dump())
        if body.station is not None:
            hold(connection, [made])
            to = owned(connection, caller, tables.station, body.station, NetworkRole.OPERATOR, hold=True)
            move(connection, [made], target(to, owner.network), at)
        note(connection, "sensor.add", f"sensor:{made}", owner.network, **body.model_dump(exclude_none=True))
    with context.database.read() as connection:
        return Json(only(sensors(connection, caller, only=made)), 201)


@router.get(
    "/sensors/{sensor}", dependencies=[PUBLIC], summary="One sensor", responses=described(Sensor, example=SENSOR),
)  # fmt: skip
def one_sensor(sensor: Id, context: Opened, caller: Asking) -> Response:
    with context.database.read() as connection:
        return Json(only(sensors(connection, caller, only=known(sensor))))


@router.patch(
    "/sensors/{sensor}", dependencies=[KNOWN], summary="Say what a sensor is, and how it stands",
    responses=described(Sensor, example=SENSOR),
)  # fmt: skip
def change(sensor: Id, body: SensorChange, request: Request, context: Opened, caller: Asking) -> Response:
    note = Noting(request, caller)
    with context.database.write() as connection:
        row = owned(connection, caller, tables.sensor, known(sensor), NetworkRole.OPERATOR, hold=True)
        if changed := change_sensor(connection, row, given(body)):
            note(connection, "sensor.change", f"sensor:{row.id}", row.network, **changed)
    with context.database.read() as connection:
        return Json(only(sensors(connection, caller, only=sensor)))


@router.delete("/sensors/{sensor}", dependencies=[KNOWN], status_code=204, summary="Remove a sensor that never measured")
def remove(sensor: Id, request: Request, context: Opened, caller: Asking) -> Response:
    note = Noting(request, caller)
    with context.database.write() as connection:
        row = owned(connection, caller, tables.sensor, known(sensor), NetworkRole.OPERATOR)
        remove_sensor(connection, row)
        note(connection, "sensor.remove", f"sensor:{row.id}", row.network, name=row.local_id)
    return Response(status_code=204)
