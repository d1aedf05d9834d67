"""/users: the hub's admins make, change, disable and remove accounts. A new one gets a link; nobody knows another's password."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from msgspec import Struct
from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError

from hub import problems
from hub.answers import Json, cursor, described, listing, place, rfc3339, tagged
from hub.audit import record
from hub.auth import accounts, onetime, sessions
from hub.auth.accounts import User
from hub.auth.guard import Allow, Asking, Guarded, Policy, no_key
from hub.auth.onetime import Purpose
from hub.auth.parts import Parts, People, now_ms, whence
from hub.auth.routes.fields import NewUser, UserChange
from hub.auth.routes.session import ACCOUNT, NOON, UNSTORED
from hub.auth.tokens import Caller, Role
from hub.database import tables
from hub.problems import Problem

router = APIRouter(route_class=Guarded, tags=["users"], dependencies=[Depends(Allow(Policy.ADMIN))])
HIGHEST_ID = (1 << 63) - 1
account = tables.account
Id = Annotated[int, Path(description="An account's id.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="At most this many, 1 to 1000.")]
Cursor = Annotated[str | None, Query(alias="cursor", max_length=200, description="Goes on where a list ended: its meta.next.")]


class Meta(Struct, frozen=True):
    """`next` is the cursor of what follows, null at the end."""

    limit: int
    next: str | None


class Users(Struct, frozen=True):
    results: list[User]
    meta: Meta


class Link(Struct, frozen=True):
    """Where a person chooses a password, once. The token stands behind #: no server and no log sees it."""

    link: str
    expires: str


class Made(Struct, frozen=True):
    """A new account, and the link to hand to its owner."""

    account: User
    link: str
    expires: str


USER = User(7, ACCOUNT.email, "Ada", "authenticated", True, False, NOON, ACCOUNT.networks, False, NOON)
LINK = Link("https://hub.example.org/#/reset?token=q0J1yq0lqYh7m9w3xkP5b2T8c4V6n1Z0aSdFgHjKlQw", NOON)


@router.get("/users", summary="Everybody with an account", responses=described(Users, example=Users([USER], Meta(100, None))))
def list_users(request: Request, people: People, limit: Limit = 100, at: Cursor = None) -> Response:
    after = place(at, "users", 1)[0] if at else 0
    with people.database.read() as connection:
        found = accounts.users(connection, after=after, limit=limit + 1)
    following = cursor("users", found[limit - 1].id) if len(found) > limit else None
    return listing(request, found[:limit], limit=limit, following=following)


@router.post(
    "/users", status_code=201, summary="Make an account; its owner chooses the password with the link",
    responses={201: described(Made, example=Made(USER, LINK.link, LINK.expires))[200]},
)  # fmt: skip
def add_user(given: NewUser, request: Request, people: People, caller: Asking) -> Response:
    no_key(caller)
    try:
        with people.database.write() as connection:
            made = accounts.add(connection, given.email, given.name, given.role, None, now_ms())
            link = _link(connection, people, made, given.email, life_ms=48 * onetime.HOUR_MS)
            _noted(connection, caller, request, "account.add", made, role=given.role.value)
    except IntegrityError as error:
        raise Problem(problems.ADDRESS_TAKEN) from error
    return Json(Made(_user(people, made), link.link, link.expires), 201, headers=UNSTORED)


@router.get("/users/{user}", summary="One account", responses=described(User, example=USER))
def one_user(user: Id, request: Request, people: People) -> Response:
    return tagged(request, _user(people, user))


@router.patch("/users/{user}", summary="Change a name or a role, disable or enable", responses=described(User, example=USER))
def change_user(user: Id, given: UserChange, request: Request, people: People, caller: Asking) -> Response:
    no_key(caller)
    values: dict[str, Any] = {}
    with people.database.write() as connection:
        row = _row(connection, user)
        if given.name is not None:
            values["name"] = given.name
        if given.role is not None:
            values["role"] = given.role.value
        if given.disabled is not None:
            values["disabled_ms"] = (row.disabled_ms or now_ms()) if given.disabled else None
        if given.disabled or given.role is Role.AUTHENTICATED:
            _keep_an_admin(connection, user)
        if values:
            connection.execute(update(account).where(account.c.id == user).values(values))
            told = {"role": values.get("role"), "disabled": given.disabled, "renamed": given.name is not None}
            if given.disabled:
                _end_sessions(connection, user, "disabled")
            _noted(connection, caller, request, "account.change", user, **{k: v for k, v in told.items() if v is not None})
    people.callers.forget()
    return Json(_user(people, user))


@router.post(
    "/users/{user}/reset", summary="A link for a new password, for a hub that sends no mail or a person without",
    responses=described(Link, example=LINK),
)  # fmt: skip
def reset_user(user: Id, request: Request, people: People, caller: Asking) -> Response:
    no_key(caller)
    with people.database.write() as connection:
        row = _row(connection, user)
        link = _link(connection, people, user, row.email, life_ms=onetime.HOUR_MS)
        _noted(connection, caller, request, "account.reset-link", user)
    return Json(link, headers=UNSTORED)


@router.delete(
    "/users/{user}/sessions", status_code=204, response_class=Response, summary="End all sessions of a person",
)  # fmt: skip
def end_sessions(user: Id, request: Request, people: People, caller: Asking) -> Response:
    no_key(caller)
    with people.database.write() as connection:
        _row(connection, user)
        ended = _end_sessions(connection, user, "ended by an admin")
        _noted(connection, caller, request, "session.end", user, ended=ended)
    people.callers.forget()
    return Response(status_code=204)


@router.delete(
    "/users/{user}", status_code=204, response_class=Response, summary="Remove an account with all that is personal",
)  # fmt: skip
def remove_user(user: Id, request: Request, people: People, caller: Asking) -> Response:
    no_key(caller)
    with people.database.write() as connection:
        _row(connection, user)
        _keep_an_admin(connection, user)
        accounts.remove(connection, user)
        _noted(connection, caller, request, "account.remove", user)
    people.callers.forget()
    return Response(status_code=204)


def _row(connection: Connection, user: int) -> Any:
    """Raises Problem for an id that nobody has; it is locked until the transaction ends."""
    asked = select(account).where(account.c.id == user).with_for_update()
    row = connection.execute(asked).one_or_none() if 0 < user <= HIGHEST_ID else None
    if row is None:
        raise Problem(problems.NOT_FOUND)
    return row


def _user(people: Parts, user: int) -> User:
    with people.database.read() as connection:
        found = accounts.users(connection, only=user) if 0 < user <= HIGHEST_ID else []
    if not found:
        raise Problem(problems.NOT_FOUND)
    return found[0]


def _keep_an_admin(connection: Connection, user: int) -> None:
    if accounts.is_last_admin(connection, user):
        raise Problem(problems.LAST_ADMIN)


def _end_sessions(connection: Connection, user: int, why: str) -> int:
    return sessions.end(connection, tables.session.c.account == user, why=why, now_ms=now_ms())


def _link(connection: Connection, people: Parts, user: int, email: str, *, life_ms: int) -> Link:
    token = onetime.give(connection, Purpose.HANDED, user, email, now_ms(), life_ms)
    return Link(f"{people.url}/#/reset?token={token}", rfc3339(now_ms() + life_ms))


def _noted(connection: Connection, caller: Caller | None, request: Request, action: str, user: int, **detail: Any) -> None:
    record(connection, caller, action, f"account:{user}", address=whence(request).address, **detail)
