"""/audit: the newest entries of the audit log, for the hub's admins, and those of a network for its own."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from msgspec import Struct
from sqlalchemy import Connection, select

from hub import problems
from hub.answers import cursor, described, listing, place, rfc3339
from hub.auth.guard import Allow, Asking, Guarded, Policy, guard
from hub.auth.parts import People
from hub.auth.routes.users import HIGHEST_ID, Cursor, Limit, Meta
from hub.database import tables
from hub.problems import Problem, invalid

router = APIRouter(route_class=Guarded, tags=["audit"], dependencies=[Depends(Allow(Policy.ADMIN, within=True))])


class Entry(Struct, frozen=True):
    """What was done: by whom, to what. `hash` covers this entry and, through the one before it, all earlier ones."""

    id: int
    time: str
    actor: str
    address: str | None
    action: str
    object: str
    network: int | None
    detail: dict[str, Any]
    hash: str


class Entries(Struct, frozen=True):
    results: list[Entry]
    meta: Meta


EXAMPLE = Entry(
    812, "2026-11-24T12:00:00.000Z", "account:3", "192.0.2.7", "member.add", "account:7", 1, {"role": "viewer"}, "9f3c" + "0" * 60
)  # fmt: skip
Exactly = Annotated[str | None, Query(max_length=200)]


@router.get(
    "/audit", summary="Who did what, the newest first", responses=described(Entries, example=Entries([EXAMPLE], Meta(100, None)))
)
def list_audit(
    request: Request,
    people: People,
    caller: Asking,
    limit: Limit = 100,
    at: Cursor = None,
    network: Annotated[int | None, Query(description="Of this network alone; its admins may ask too.")] = None,
    actor: Annotated[Exactly, Query(description="As it stands in an entry: account:3, key:7, shell.")] = None,
    action: Annotated[Exactly, Query(description="As it stands in an entry: gateway.revoke.")] = None,
) -> Response:
    if network is not None and not 0 < network <= HIGHEST_ID:
        raise Problem(problems.NOT_FOUND)
    guard(caller, Policy.ADMIN, network)
    wanted = {"actor": actor, "action": action}
    for name, value in wanted.items():
        if value is not None and "\0" in value:
            raise invalid(name, "it has a character that no entry has")
    before = place(at, "audit", 1)[0] if at else HIGHEST_ID
    exactly = {name: value for name, value in (wanted | {"network": network}).items() if value is not None}
    with people.database.read() as connection:
        found = _entries(connection, before, limit + 1, exactly)
    following = cursor("audit", found[limit - 1].id) if len(found) > limit else None
    return listing(request, found[:limit], limit=limit, following=following)


def _entries(connection: Connection, before: int, limit: int, exactly: dict[str, Any]) -> list[Entry]:
    row = tables.audit.c
    asked = select(tables.audit).where(row.id < before, *(row[name] == value for name, value in exactly.items()))
    return [
        Entry(
            one.id, rfc3339(one.time_ms), one.actor, one.address, one.action, one.object, one.network,
            msgspec.json.decode(one.detail, type=dict[str, Any]), one.hash,
        )
        for one in connection.execute(asked.order_by(row.id.desc()).limit(limit))
    ]  # fmt: skip
