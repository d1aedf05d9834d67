"""/gateways: how each is doing, what of its rows has arrived and what has not. Made and invited: hub/fleet/routes/gateways.py."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from msgspec import Struct

from hub.answers import cursor, described, listing, place, tagged
from hub.auth.guard import Asking, Guarded
from hub.auth.tokens import Caller, NetworkRole
from hub.context import Context, Opened
from hub.database import tables
from hub.fleet.completeness import Completeness
from hub.fleet.gateways import Gateway, gateways
from hub.fleet.networks import owned, reach
from hub.fleet.routes.fields import GatewayChange
from hub.fleet.routes.gateways import GATEWAY
from hub.fleet.routes.lists import KNOWN, WITHIN, Cursor, Limit, Meta, Name, Noting, known, only
from hub.fleet.sites import give
from hub.front.counts import Counts, Ledger, StreamLedger, filled, ledger

router = APIRouter(route_class=Guarded, tags=["gateways"])
ROWS = Counts(produced=812, stored=812)
EXAMPLE = Ledger([StreamLedger("3f1c9a0b7d2e4856", "9b1d2c3e4f506172", None, [[1, 812]], [], ROWS)], [], ROWS)


class Gateways(Struct, frozen=True):
    results: list[Gateway]
    meta: Meta


@router.get(
    "/gateways", dependencies=[KNOWN], summary="Gateways, and how each is doing",
    responses=described(Gateways, example=Gateways([GATEWAY], Meta(100, None))),
)  # fmt: skip
def list_gateways(
    request: Request,
    context: Opened,
    caller: Asking,
    network: Annotated[int | None, Query(description="Only those of this network.")] = None,
    limit: Limit = 100,
    at: Cursor = None,
) -> Response:
    """For operators and admins of their networks."""
    after = place(at, "gateways", 1)[0] if at else 0
    within = reach(caller, NetworkRole.OPERATOR)
    with context.database.read() as connection:
        if network is not None:
            within = [int(owned(connection, caller, tables.network, known(network), NetworkRole.OPERATOR).id)]
        shares: Completeness = request.app.state.completeness
        found = gateways(connection, shares, networks=within, after=after, limit=limit + 1)
        following = cursor("gateways", found[limit - 1].id) if len(found) > limit else None
        return listing(request, filled(connection, found[:limit]), limit=limit, following=following)


@router.get(
    "/gateways/{name}", dependencies=[KNOWN], summary="One gateway", responses=described(Gateway, example=GATEWAY),
)  # fmt: skip
def one_gateway(name: Name, request: Request, context: Opened, caller: Asking) -> Response:
    return _one(request, context, caller, name)


@router.patch(
    "/gateways/{name}", dependencies=[WITHIN], summary="Give a gateway to another network",
    responses=described(Gateway, example=GATEWAY),
)  # fmt: skip
def change_gateway(name: Name, body: GatewayChange, request: Request, context: Opened, caller: Asking) -> Response:
    """By who is an admin of both. What it measured so far stays at the stations of the network it leaves."""
    note = Noting(request, caller)
    with context.database.write() as connection:
        row = owned(connection, caller, tables.gateway, name, NetworkRole.ADMIN)
        owned(connection, caller, tables.network, body.network, NetworkRole.ADMIN)
        if row.network != body.network:
            given = give(connection, row, body.network)
            note(connection, "gateway.give", f"gateway:{name}", body.network, before=row.network, sensors=given)
    return _one(request, context, caller, name)


@router.get(
    "/gateways/{name}/ledger", dependencies=[KNOWN], summary="A gateway's rows: produced, stored, pending, stream by stream",
    responses=described(Ledger, example=EXAMPLE),
)  # fmt: skip
def one_ledger(name: Name, request: Request, context: Opened, caller: Asking) -> Response:
    with context.database.read() as connection:
        row = owned(connection, caller, tables.gateway, name, NetworkRole.OPERATOR)
        return tagged(request, ledger(connection, row.id))


def _one(request: Request, context: Context, caller: Caller | None, name: str) -> Response:
    with context.database.read() as connection:
        owned(connection, caller, tables.gateway, name, NetworkRole.OPERATOR)
        found = gateways(connection, request.app.state.completeness, name=name)
        return tagged(request, only(filled(connection, found)))
