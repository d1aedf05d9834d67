"""/networks/{network}/members: who belongs to a network, and as what."""

from fastapi import APIRouter, Request, Response
from msgspec import Struct

from hub.answers import Json, cursor, described, listing, place
from hub.auth.guard import Asking, Guarded, no_key
from hub.auth.tokens import NetworkRole
from hub.context import Opened
from hub.database import tables
from hub.fleet.networks import Member, appoint, join, members, owned, unique
from hub.fleet.routes.fields import MemberChange, NewMember
from hub.fleet.routes.lists import WITHIN, Cursor, Id, Limit, Meta, Noting, known
from hub.terms import ONCE

router = APIRouter(route_class=Guarded, tags=["networks"], dependencies=[WITHIN])
MEMBER = Member(7, "ada@example.org", "Ada", "operator")


class Members(Struct, frozen=True):
    results: list[Member]
    meta: Meta


@router.get(
    "/networks/{network}/members", summary="Members of a network and their roles",
    responses=described(Members, example=Members([MEMBER], Meta(100, None))),
)  # fmt: skip
def list_members(
    network: Id, request: Request, context: Opened, caller: Asking, limit: Limit = 100, at: Cursor = None
) -> Response:
    after = place(at, "members", 1)[0] if at else 0
    with context.database.read() as connection:
        owned(connection, caller, tables.network, known(network), NetworkRole.ADMIN)
        found = members(connection, network, after=after, limit=limit + 1)
    following = cursor("members", found[limit - 1].account) if len(found) > limit else None
    return listing(request, found[:limit], limit=limit, following=following)


@router.post(
    "/networks/{network}/members", status_code=201, dependencies=[ONCE],
    summary="Make the person of an address a member", responses={201: described(Member, example=MEMBER)[200]},
)  # fmt: skip
def add_member(network: Id, body: NewMember, request: Request, context: Opened, caller: Asking) -> Response:
    no_key(caller)
    note = Noting(request, caller)
    with unique("member"), context.database.write() as connection:
        owned(connection, caller, tables.network, known(network), NetworkRole.ADMIN)
        made = join(connection, network, body.email, body.role, proved=bool(context.settings.smtp_url))
        note(connection, "member.add", f"account:{made.account}", network, role=made.role)
    request.app.state.callers.forget()
    return Json(made, 201)


@router.put("/networks/{network}/members/{account}", status_code=204, summary="Change a member's role")
def change_member(network: Id, account: Id, body: MemberChange, request: Request, context: Opened, caller: Asking) -> Response:
    return _appoint(network, account, body.role, request, context, caller)


@router.delete("/networks/{network}/members/{account}", status_code=204, summary="End a membership")
def remove_member(network: Id, account: Id, request: Request, context: Opened, caller: Asking) -> Response:
    return _appoint(network, account, None, request, context, caller)


def _appoint(network: int, account: int, role: NetworkRole | None, request: Request, context: Opened, caller: Asking) -> Response:
    no_key(caller)
    note = Noting(request, caller)
    with context.database.write() as connection:
        owned(connection, caller, tables.network, known(network), NetworkRole.ADMIN, hold=True)
        before = appoint(connection, caller, network, known(account), role)
        if role is None:
            note(connection, "member.remove", f"account:{account}", network, before=before)
        elif role != before:
            note(connection, "member.change", f"account:{account}", network, role=role.value, before=before)
    request.app.state.callers.forget()
    return Response(status_code=204)
