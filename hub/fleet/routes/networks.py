"""/networks: which there are, how their data may be used; made, changed and removed."""

from fastapi import APIRouter, Request, Response
from msgspec import Struct

from hub.answers import Json, cursor, described, listing, place, tagged
from hub.auth.guard import Asking, Guarded
from hub.auth.tokens import NetworkRole
from hub.context import Opened
from hub.database import tables
from hub.fleet.networks import Network, add, change, networks, owned, remove, unique
from hub.fleet.routes.fields import NetworkChange, NewNetwork, given
from hub.fleet.routes.lists import HUB, PUBLIC, WITHIN, Cursor, Id, Limit, Meta, Noting, known, only
from hub.terms import ONCE

router = APIRouter(route_class=Guarded, tags=["networks"])
NETWORK = Network(1, "unilag", "University of Lagos", "coarse", "CC-BY-4.0", "University of Lagos", 0, 12, None)


class Networks(Struct, frozen=True):
    results: list[Network]
    meta: Meta


@router.get(
    "/networks", dependencies=[PUBLIC], summary="Networks with something that you may see",
    responses=described(Networks, example=Networks([NETWORK], Meta(100, None))),
)  # fmt: skip
def list_networks(request: Request, context: Opened, caller: Asking, limit: Limit = 100, at: Cursor = None) -> Response:
    after = place(at, "networks", 1)[0] if at else 0
    with context.database.read() as connection:
        found = networks(connection, caller, after=after, limit=limit + 1)
    following = cursor("networks", found[limit - 1].id) if len(found) > limit else None
    return listing(request, found[:limit], limit=limit, following=following)


@router.post(
    "/networks", dependencies=[HUB, ONCE], status_code=201, summary="Make a network",
    responses={201: described(Network, example=NETWORK)[200]},
)  # fmt: skip
def make_network(body: NewNetwork, request: Request, context: Opened, caller: Asking) -> Response:
    note = Noting(request, caller)
    with unique("network"), context.database.write() as connection:
        made = add(connection, body.model_dump())
        note(connection, "network.add", f"network:{made}", made, **body.model_dump(exclude_none=True))
    with context.database.read() as connection:
        return Json(only(networks(connection, caller, only=made)), 201)


@router.get(
    "/networks/{network}", dependencies=[PUBLIC], summary="One network",
    responses=described(Network, example=NETWORK),
)  # fmt: skip
def one_network(network: Id, request: Request, context: Opened, caller: Asking) -> Response:
    with context.database.read() as connection:
        return tagged(request, only(networks(connection, caller, only=known(network))))


@router.patch(
    "/networks/{network}", dependencies=[WITHIN], summary="Change a network",
    responses=described(Network, example=NETWORK),
)  # fmt: skip
def change_network(network: Id, body: NetworkChange, request: Request, context: Opened, caller: Asking) -> Response:
    note, values = Noting(request, caller), given(body)
    with context.database.write() as connection:
        row = owned(connection, caller, tables.network, known(network), NetworkRole.ADMIN, hold=True)
        changed = {name: value for name, value in values.items() if row._mapping[name] != value}
        change(connection, row.id, changed)
        if changed:
            note(connection, "network.change", f"network:{row.id}", row.id, **changed)
    with context.database.read() as connection:
        return Json(only(networks(connection, caller, only=network)))


@router.delete("/networks/{network}", dependencies=[WITHIN], status_code=204, summary="Remove an empty network")
def remove_network(network: Id, request: Request, context: Opened, caller: Asking) -> Response:
    note = Noting(request, caller)
    with context.database.write() as connection:
        row = owned(connection, caller, tables.network, known(network), NetworkRole.ADMIN, hold=True)
        remove(connection, row)
        note(connection, "network.remove", f"network:{row.id}", row.id, slug=row.slug)
    request.app.state.callers.forget()
    return Response(status_code=204)
