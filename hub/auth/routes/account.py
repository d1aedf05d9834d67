"""/auth/register, /me, /password, /email, /setup: a person makes an account, proves an address, keeps or changes a password."""

from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from msgspec import Struct
from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError

from hub import problems
from hub.answers import Json, described, tagged
from hub.audit import record
from hub.auth import accounts, letters, onetime, sessions, setup
from hub.auth.accounts import Account
from hub.auth.guard import Allow, Asking, Guarded, Policy, signed_in
from hub.auth.onetime import Purpose
from hub.auth.parts import Parts, People, now_ms, whence
from hub.auth.routes.fields import ADA, Change, Forgot, Me, Register, Reset, Setup, Verify
from hub.auth.routes.session import ACCOUNT, UNSTORED
from hub.auth.tokens import Caller, Role
from hub.database import tables
from hub.mail import Letter
from hub.problems import Problem

router = APIRouter(route_class=Guarded, tags=["account"])
PUBLIC, KNOWN = Depends(Allow(Policy.PUBLIC)), Depends(Allow(Policy.AUTHENTICATED))
ONCE = Depends(Allow(Policy.ONE_TIME_TOKEN))
account = tables.account


class Registered(Struct, frozen=True):
    """`verification`: whether a letter with a link was sent to the address."""

    email: str
    name: str
    verification: str


class Asked(Struct, frozen=True):
    """`mail`: whether this hub writes letters; where not, an admin of the hub gives out a link."""

    mail: bool


@router.post(
    "/auth/register", dependencies=[PUBLIC], status_code=201, summary="Make an account",
    responses={201: described(Registered, example=Registered(ADA, "Ada", "sent"), meaning="Alike for an address in use")[200]},
)  # fmt: skip
def register(given: Register, request: Request, people: People) -> Response:
    here = whence(request)
    if people.settings.registration != "open":
        raise Problem(problems.REGISTRATION_CLOSED)
    people.throttle.register(here.address)
    hashed = people.strong("password", given.password, given.email, given.name)
    try:
        with people.database.write() as connection:
            made = accounts.add(connection, given.email, given.name, Role.AUTHENTICATED, hashed, now_ms())
            actor = Caller(given.name, Role.AUTHENTICATED, {}, account=made)
            record(connection, actor, "account.register", f"account:{made}", address=here.address)
        people.mailer.later(lambda: _verification(people, made))
    except IntegrityError:
        _already(people, given.email, here.address)
    said = Registered(given.email, given.name, "sent" if people.mailer.sends else "none")
    return Json(said, 201, headers=UNSTORED)


@router.get("/auth/me", dependencies=[KNOWN], summary="Your account", responses=described(Account, example=ACCOUNT))
def me(request: Request, people: People, caller: Asking) -> Response:
    if caller is None or caller.account is None:
        raise Problem(problems.FORBIDDEN, "this token was made in a shell: it belongs to no account")
    return tagged(request, _view(people, caller.account))


@router.patch("/auth/me", dependencies=[KNOWN], summary="Change your name", responses=described(Account, example=ACCOUNT))
def change_me(given: Me, request: Request, people: People, caller: Asking) -> Response:
    number, _ = signed_in(caller)
    with people.database.write() as connection:
        connection.execute(update(account).where(account.c.id == number).values(name=given.name))
        record(connection, caller, "account.change", f"account:{number}", address=whence(request).address, changed=["name"])
    people.callers.forget()
    return Json(_view(people, number))


@router.post(
    "/auth/password", dependencies=[KNOWN], status_code=204, response_class=Response,
    summary="Change your password; your other sessions end",
)  # fmt: skip
def change_password(given: Change, request: Request, people: People, caller: Asking) -> Response:
    number, current = signed_in(caller)
    people.throttle.password(number)
    with people.database.read() as connection:
        row = accounts.by_id(connection, number)
    if not people.hasher.verify(None if row is None else row.password, given.current) or row is None:
        raise Problem(problems.LOGIN_FAILED, "the current password is another")
    hashed = people.strong("new", given.new, row.email, row.name)
    with people.database.write() as connection:
        same = (account.c.id == number, account.c.password == row.password)
        if not connection.execute(update(account).where(*same).values(password=hashed, password_ms=now_ms())).rowcount:
            raise Problem(problems.LOGIN_FAILED, "the current password is another")
        others = (tables.session.c.account == number, tables.session.c.id != current)
        ended = sessions.end(connection, *others, why="password changed", now_ms=now_ms())
        onetime.void(connection, number, Purpose.RESET, Purpose.HANDED)
        record(connection, caller, "account.password", f"account:{number}", address=whence(request).address, ended=ended)
    people.callers.forget()
    people.mailer.later(lambda: letters.changed(people.url, row.email))
    return Response(status_code=204)


@router.post(
    "/auth/password/forgot", dependencies=[PUBLIC], status_code=202, summary="Ask for a letter with a link for a new password",
    responses={202: described(Asked, example=Asked(True), meaning="Alike whether or not the address has an account")[200]},
)  # fmt: skip
def forgot(given: Forgot, request: Request, people: People) -> Response:
    people.throttle.one_time(whence(request).address)
    people.mailer.later(lambda: _reset(people, given.email))
    return Json(Asked(people.mailer.sends), 202, headers=UNSTORED)


@router.post(
    "/auth/password/reset", dependencies=[ONCE], status_code=204, response_class=Response,
    summary="Choose a new password with the token of a link; all your sessions end",
)  # fmt: skip
def reset(given: Reset, request: Request, people: People) -> Response:
    here = whence(request)
    people.throttle.one_time(here.address)
    purposes = (Purpose.RESET, Purpose.HANDED)
    with people.database.read() as connection:
        found = onetime.peek(connection, given.token, *purposes, now_ms=now_ms())
        row = accounts.by_id(connection, found.account)
    if row is None or row.disabled_ms is not None:
        raise Problem(problems.LINK_OVER)
    hashed = people.strong("new", given.new, row.email, row.name)
    with people.database.write() as connection:
        used = onetime.use(connection, given.token, *purposes, now_ms=now_ms())
        mailed = used.kind == Purpose.RESET.value and used.email == row.email
        values: dict[str, Any] = {"password": hashed, "password_ms": now_ms()}
        if mailed and row.verified_ms is None:
            # Whoever made this account never showed that the address is theirs: what they left in it must not stay.
            values |= {"verified_ms": now_ms(), "totp": None, "totp_ms": None, "totp_step": None}
            for table in (tables.api_key, tables.recovery_code):
                connection.execute(delete(table).where(table.c.account == row.id))
        connection.execute(update(account).where(account.c.id == row.id).values(values))
        ended = sessions.end(connection, tables.session.c.account == row.id, why="password reset", now_ms=now_ms())
        onetime.void(connection, row.id, *purposes)
        actor = Caller(row.name, Role(row.role), {}, account=row.id)
        record(connection, actor, "account.reset", f"account:{row.id}", address=here.address, ended=ended)
    people.callers.forget()
    people.mailer.later(lambda: letters.changed(people.url, row.email))
    return Response(status_code=204)


@router.post(
    "/auth/email/send", dependencies=[KNOWN], status_code=202, summary="Send the letter that proves your address once more",
    responses={202: described(Asked, example=Asked(True))[200]},
)  # fmt: skip
def send_verification(people: People, caller: Asking) -> Response:
    number, _ = signed_in(caller)
    if not people.mailer.sends:
        raise Problem(problems.NO_MAIL)
    people.mailer.later(lambda: _verification(people, number))
    return Json(Asked(True), 202)


@router.post(
    "/auth/email/verify", dependencies=[ONCE], status_code=204, response_class=Response,
    summary="Prove your address with the token of a letter",
)  # fmt: skip
def verify(given: Verify, request: Request, people: People) -> Response:
    here = whence(request)
    people.throttle.one_time(here.address)
    with people.database.write() as connection:
        used = onetime.use(connection, given.token, Purpose.VERIFY, now_ms=now_ms())
        mine = (account.c.id == used.account, account.c.email == used.email)
        connection.execute(update(account).where(*mine, account.c.verified_ms.is_(None)).values(verified_ms=now_ms()))
        record(connection, f"account:{used.account}", "account.verify", f"account:{used.account}", address=here.address)
    return Response(status_code=204)


@router.post(
    "/auth/setup", dependencies=[ONCE], status_code=201,
    summary="Make the hub's first admin with the token that its first start printed",
    responses={201: described(Account, example=ACCOUNT)[200]},
)  # fmt: skip
def set_up(given: Setup, request: Request, people: People) -> Response:
    here = whence(request)
    people.throttle.one_time(here.address)
    with people.database.read() as connection:
        onetime.peek(connection, given.token, Purpose.SETUP, now_ms=now_ms())
    hashed = people.strong("password", given.password, given.email, given.name)
    try:
        with people.database.write() as connection:
            onetime.use(connection, given.token, Purpose.SETUP, now_ms=now_ms())
            if setup.has_admin(connection):
                raise Problem(problems.LINK_OVER)
            made = accounts.add(connection, given.email, given.name, Role.ADMIN, hashed, now_ms())
            record(connection, f"account:{made}", "account.setup", f"account:{made}", address=here.address)
    except IntegrityError as error:
        raise Problem(problems.ADDRESS_TAKEN) from error
    (people.data_dir / setup.FILE).unlink(missing_ok=True)
    people.mailer.later(lambda: _verification(people, made))
    return Json(_view(people, made), 201, headers=UNSTORED)


def _view(people: Parts, number: int) -> Account:
    with people.database.read() as connection:
        found = accounts.account_view(connection, number)
    if found is None:
        raise Problem(problems.NOT_FOUND)
    return found


def _already(people: Parts, email: str, address: str | None) -> None:
    """Nothing but what a new account costs too: an entry of the log, a letter."""
    with people.database.write() as connection:
        row = accounts.by_email(connection, email)
        record(connection, None, "account.register", f"account:{row.id if row else 0}", address=address, taken=True)
    if people.throttle.letter(email):
        people.mailer.later(lambda: letters.taken(people.url, email))


def _verification(people: Parts, number: int) -> Letter | None:
    with people.database.write() as connection:
        row = accounts.by_id(connection, number)
        if row is None or row.verified_ms is not None or not people.throttle.letter(row.email):
            return None
        token = onetime.give(connection, Purpose.VERIFY, number, row.email, now_ms())
    return letters.verification(people.url, row.email, token)


def _reset(people: Parts, email: str) -> Letter | None:
    with people.database.write() as connection:
        row = accounts.by_email(connection, email)
        if row is None or row.disabled_ms is not None or not people.throttle.letter(email):
            return None
        token = onetime.give(connection, Purpose.RESET, row.id, email, now_ms())
    return letters.reset(people.url, email, token)
