"""/stations: where things stand, and what they measure there now; made, changed and closed."""

from fastapi import APIRouter, Request, Response
from msgspec import Struct

from hub.answers import Json, cursor, described, listing, place
from hub.auth.guard import Asking, Guarded, Policy, guard
from hub.auth.tokens import NetworkRole
from hub.context import Opened
from hub.database import tables
from hub.fleet.category import Index
from hub.fleet.networks import owned, unique
from hub.fleet.routes.fields import NewStation, StationChange, given
from hub.fleet.routes.lists import KNOWN, NOON, PUBLIC, Cursor, Id, Kept, Limit, Meta, Noting, known, only
from hub.fleet.routes.sensors import SENSOR
from hub.fleet.sites import add_station, change_station, close_station
from hub.fleet.stations import Station, stations
from hub.terms import ONCE

router = APIRouter(route_class=Guarded, tags=["stations"])
INDEX = Index(28.4, 87, "moderate", None, 0.92, NOON)
STATION = Station(
    1, "UNILAG gate", 6.5158, 3.3898, 12.0, "Africa/Lagos", "public", NOON, [SENSOR], INDEX, 1, "CC-BY-4.0", "UNILAG",
)  # fmt: skip


class Stations(Struct, frozen=True):
    results: list[Station]
    meta: Meta


@router.get(
    "/stations", dependencies=[PUBLIC], summary="Stations with their sensors and newest values",
    responses=described(Stations, example=Stations([STATION], Meta(100, None))),
)  # fmt: skip
def list_stations(
    request: Request, context: Opened, caller: Asking, kept: Kept, limit: Limit = 100, at: Cursor = None
) -> Response:
    after = place(at, "stations", 1)[0] if at else 0
    found = stations(context.database, caller, kept, after=after, limit=limit + 1)
    following = cursor("stations", found[limit - 1].id) if len(found) > limit else None
    return listing(request, found[:limit], limit=limit, following=following)


@router.post(
    "/stations", dependencies=[KNOWN, ONCE], status_code=201, summary="Make a station",
    responses={201: described(Station, example=STATION)[200]},
)  # fmt: skip
def make_station(body: NewStation, request: Request, context: Opened, caller: Asking, kept: Kept) -> Response:
    note, least = Noting(request, caller), NetworkRole.OPERATOR if body.visibility is None else NetworkRole.ADMIN
    with unique("station"), context.database.write() as connection:
        owned(connection, caller, tables.network, body.network, least)
        made = add_station(connection, body.network, body.model_dump())
        note(
            connection, "station.add", f"station:{made}", body.network, **body.model_dump(exclude_none=True, exclude={"network"})
        )
    return Json(only(stations(context.database, caller, kept, only=made)), 201)


@router.get(
    "/stations/{station}", dependencies=[PUBLIC], summary="One station", responses=described(Station, example=STATION),
)  # fmt: skip
def one_station(station: Id, context: Opened, caller: Asking, kept: Kept) -> Response:
    return Json(only(stations(context.database, caller, kept, only=known(station))))


@router.patch(
    "/stations/{station}", dependencies=[KNOWN], summary="Change a station", responses=described(Station, example=STATION),
)  # fmt: skip
def change(station: Id, body: StationChange, request: Request, context: Opened, caller: Asking, kept: Kept) -> Response:
    """Whose data may be seen is for the network's admins to say, all else for its operators."""
    note, values = Noting(request, caller), given(body)
    with unique("station"), context.database.write() as connection:
        row = owned(connection, caller, tables.station, known(station), NetworkRole.OPERATOR, hold=True)
        if "visibility" in values:
            guard(caller, Policy.ADMIN, row.network)
        if changed := change_station(connection, row, values):
            note(connection, "station.change", f"station:{row.id}", row.network, **changed)
    return Json(only(stations(context.database, caller, kept, only=station)))


@router.delete("/stations/{station}", dependencies=[KNOWN], status_code=204, summary="Close a station; its history is kept")
def close(station: Id, request: Request, context: Opened, caller: Asking) -> Response:
    note = Noting(request, caller)
    with context.database.write() as connection:
        row = owned(connection, caller, tables.station, known(station), NetworkRole.OPERATOR, hold=True)
        close_station(connection, row)
        note(connection, "station.close", f"station:{row.id}", row.network, name=row.name)
    return Response(status_code=204)
