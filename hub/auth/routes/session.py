"""/auth/login, /refresh, /logout, /sessions: an address and a password in; tokens for a while out, and an end to them."""

import logging
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from msgspec import Struct
from sqlalchemy import Connection, Row, update

from hub import problems
from hub.answers import Json, described, tagged
from hub.audit import record
from hub.auth import accounts, cookie, sessions, throttle, totp
from hub.auth.accounts import Account
from hub.auth.guard import Allow, Asking, Guarded, Policy, signed_in
from hub.auth.parts import Parts, People, now_ms, whence
from hub.auth.routes.fields import ADA, TOKEN, Login, Refresh
from hub.auth.sessions import Granted, Reused, Whence
from hub.auth.tokens import LIFE_S, Caller, Role
from hub.database import tables
from hub.problems import Problem

log = logging.getLogger("hub.auth")
router = APIRouter(route_class=Guarded, tags=["sign-in"])
PUBLIC, KNOWN = Depends(Allow(Policy.PUBLIC)), Depends(Allow(Policy.AUTHENTICATED))
UNSTORED = {"Cache-Control": "no-store"}


class SignedIn(Struct, frozen=True):
    """`access_token`: for Authorization, 15 min. `refresh_token`: for the next one, once; null where a cookie holds it."""

    access_token: str
    token_type: str
    expires_in: int
    refresh_token: str | None
    account: Account


class Listed(Struct, frozen=True):
    results: list[sessions.Session]


NOON = "2026-11-24T12:00:00.000Z"
ACCOUNT = Account(7, ADA, "Ada", "authenticated", True, False, NOON, [accounts.Within(1, "lagos", "Lagos air", "operator")])
SIGNED_IN = SignedIn("eyJhbGciOiJFZERTQSJ9...", "Bearer", LIFE_S, TOKEN, ACCOUNT)
ONE = sessions.Session("5f0c7c1e8f0a4be0a1a8c6f6bb1f2d33", NOON, NOON, "2026-12-08T12:00:00.000Z", "192.0.2.7", "Firefox", True)


@router.post(
    "/auth/login", dependencies=[PUBLIC], summary="Sign in", responses=described(SignedIn, example=SIGNED_IN),
)  # fmt: skip
def login(given: Login, request: Request, people: People) -> Response:
    if given.cookie:
        cookie.own_page(request)
    here = whence(request)
    within = people.throttle.login(given.email, here.address)
    with people.database.read() as connection:
        row = accounts.by_email(connection, given.email)
        known = row is not None and (within or sessions.known_address(connection, row.id, here.address, now_ms()))
    if not within and not known:
        raise throttle.too_many(throttle.QUARTER_S)
    standing = None if row is None or row.disabled_ms is not None else row.password
    if not people.hasher.verify(standing, given.password) or row is None:
        # An address that nobody has is most often a password in the wrong field: the log gets neither.
        log.info("login refused account=%s address=%s", "unknown" if row is None else row.id, here.address)
        raise Problem(problems.LOGIN_FAILED, headers={"WWW-Authenticate": 'Bearer realm="harmattan"'})
    anew = people.hasher.hash(given.password) if people.hasher.outdated(row.password) else None
    with people.database.write() as connection:
        granted, account = _opened(connection, people, row, given.code, here, anew)
    return _answer(request, people, granted, account, in_cookie=given.cookie)


@router.post(
    "/auth/refresh", dependencies=[PUBLIC], summary="The next access token, and the next refresh token",
    responses=described(SignedIn, example=SIGNED_IN),
)  # fmt: skip
def refresh(request: Request, people: People, given: Refresh | None = None) -> Response:
    named = given.refresh_token if given is not None else None
    token = named or cookie.held(request)
    if token is None:
        raise Problem(problems.SESSION_OVER, "there is no refresh token, neither in the body nor in the cookie")
    with people.database.write() as connection:
        found = people.sessions.renew(connection, token, whence(request), now_ms())
        account = None if found is None else accounts.account_view(connection, found.account)
        if isinstance(found, Reused) and account is not None:
            actor = Caller(account.name, Role.AUTHENTICATED, {}, account=account.id)
            here = whence(request)
            record(connection, actor, "session.end", f"session:{found.session}", address=here.address, why="refresh reused")
    if not isinstance(found, Granted) or account is None:
        raise _over(request, in_cookie=named is None)
    return _answer(request, people, found, account, in_cookie=named is None)


@router.post(
    "/auth/logout", dependencies=[PUBLIC], status_code=204, response_class=Response, summary="Sign out: the session ends",
)  # fmt: skip
def logout(request: Request, people: People, caller: Asking, given: Refresh | None = None) -> Response:
    token = (given.refresh_token if given is not None else None) or cookie.held(request)
    with people.database.write() as connection:
        session = sessions.session_of(connection, token) if token else None if caller is None else caller.session
        if session is not None:
            _end(connection, caller, session, whence(request), why="signed out")
    people.callers.forget()
    answer = Response(status_code=204, headers=UNSTORED)
    if request.cookies.get(cookie.NAME):
        cookie.drop(request, answer)
    return answer


@router.get(
    "/auth/sessions", dependencies=[KNOWN], summary="Where you are signed in",
    responses=described(Listed, example=Listed([ONE])),
)  # fmt: skip
def list_sessions(request: Request, people: People, caller: Asking) -> Response:
    account, current = signed_in(caller)
    with people.database.read() as connection:
        found = sessions.sessions(connection, account, current, now_ms())
    return tagged(request, {"results": found, "meta": {"limit": len(found), "next": None}})


@router.delete(
    "/auth/sessions", dependencies=[KNOWN], status_code=204, response_class=Response, summary="End all your other sessions",
)  # fmt: skip
def end_others(request: Request, people: People, caller: Asking) -> Response:
    account, current = signed_in(caller)
    others = (tables.session.c.account == account, tables.session.c.id != current)
    with people.database.write() as connection:
        ended = sessions.end(connection, *others, why="ended by its owner", now_ms=now_ms())
        record(connection, caller, "session.end", f"account:{account}", address=whence(request).address, ended=ended)
    people.callers.forget()
    return Response(status_code=204)


@router.delete(
    "/auth/sessions/{session}", dependencies=[KNOWN], status_code=204, response_class=Response, summary="End one session",
)  # fmt: skip
def end_one(
    session: Annotated[str, Path(max_length=64, description="An id from the list.")],
    request: Request,
    people: People,
    caller: Asking,
) -> Response:
    account, _ = signed_in(caller)
    if "\0" in session:
        raise Problem(problems.NOT_FOUND)
    with people.database.write() as connection:
        if not _end(connection, caller, session, whence(request), why="ended by its owner", owner=account):
            raise Problem(problems.NOT_FOUND)
    people.callers.forget()
    return Response(status_code=204)


def _opened(
    connection: Connection, people: Parts, row: Row[Any], code: str | None, here: Whence, anew: str | None
) -> tuple[Granted, Account]:
    """A session for whoever gave the right password. Raises Problem for a code that is missing or wrong."""
    at = now_ms()
    still = accounts.by_id(connection, row.id)
    if still is None or still.password != row.password or still.disabled_ms is not None:
        raise Problem(problems.LOGIN_FAILED)
    if still.totp_ms is not None and not (code and totp.verify(connection, row.id, code, at, secret=people.secret)):
        raise Problem(problems.CODE_REQUIRED, "this code is wrong, was used or is over" if code else "")
    if anew is not None:
        connection.execute(update(tables.account).where(tables.account.c.id == row.id).values(password=anew))
    granted = people.sessions.open(connection, row.id, here, at)
    account = accounts.account_view(connection, row.id)
    assert account is not None  # noqa: S101  # it was read in this transaction
    actor = Caller(row.name, Role(row.role), {}, account=row.id, session=granted.session)
    record(connection, actor, "account.login", f"account:{row.id}", address=here.address)
    return granted, account


def _answer(request: Request, people: Parts, granted: Granted, account: Account, *, in_cookie: bool) -> Response:
    caller = Caller(account.name, Role(account.role), {}, account=account.id, session=granted.session)
    shown = None if in_cookie else granted.refresh
    answer = Json(SignedIn(people.tokens.sign(caller), "Bearer", LIFE_S, shown, account), headers=UNSTORED)
    if in_cookie:
        cookie.put(request, answer, granted.refresh, max(0, (granted.expires_ms - now_ms()) // 1000))
    return answer


def _over(request: Request, *, in_cookie: bool) -> Problem:
    headers = {"WWW-Authenticate": 'Bearer realm="harmattan"'}
    if in_cookie:
        gone = Response()
        cookie.drop(request, gone)
        headers["Set-Cookie"] = gone.headers["set-cookie"]
    return Problem(problems.SESSION_OVER, headers=headers)


def _end(
    connection: Connection, caller: Caller | None, session: str, here: Whence, *, why: str, owner: int | None = None
) -> bool:
    mine = [tables.session.c.id == session] + ([] if owner is None else [tables.session.c.account == owner])
    if not sessions.end(connection, *mine, why=why, now_ms=now_ms()):
        return False
    record(connection, caller, "session.end", f"session:{session}", address=here.address, why=why)
    return True
