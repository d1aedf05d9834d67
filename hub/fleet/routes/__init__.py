"""/networks, /stations, /sensors, /gateways, /enrol: each file a router of one noun; here they are one."""

from fastapi import APIRouter

from hub.fleet.routes import enrol, gateways, histories, members, networks, sensors, stations
from hub.fleet.routes.lists import Cursor, Kept, known
from hub.fleet.routes.stations import STATION

__all__ = ["STATION", "Cursor", "Kept", "known", "router"]

router = APIRouter()
for _one in (networks, members, stations, sensors, histories, gateways, enrol):
    router.include_router(_one.router)
