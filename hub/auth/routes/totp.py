"""/auth/totp: an authenticator app is begun, confirmed by a code of it, and removed with password and code."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field

from hub import problems
from hub.answers import Json, described
from hub.audit import record
from hub.auth import accounts, totp
from hub.auth.guard import Allow, Asking, Guarded, Policy, signed_in
from hub.auth.parts import People, now_ms, whence
from hub.auth.routes.fields import PHRASE, Code, Given
from hub.auth.routes.session import UNSTORED
from hub.auth.totp import Begun
from hub.problems import Problem, invalid

router = APIRouter(route_class=Guarded, tags=["authenticator app"], dependencies=[Depends(Allow(Policy.AUTHENTICATED))])


class Codes(Struct, frozen=True):
    """Each signs in once in the place of a code, when the app is lost. Told this once."""

    recovery_codes: list[str]


class Confirmation(BaseModel):
    """The password, so that who has but a session cannot shut its owner out; the app's first code."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"password": PHRASE, "code": "492039"}})

    password: Given
    code: Annotated[Code, Field(min_length=1)]


class Removal(BaseModel):
    """`code`: of the app, or a recovery code."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"password": PHRASE, "code": "492039"}})

    password: Given
    code: Code


SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"  # noqa: S105  # an example
BEGUN = Begun(SECRET, f"otpauth://totp/Harmattan:ada%40example.org?secret={SECRET}&issuer=Harmattan", "<svg ...></svg>")


@router.post(
    "/auth/totp", summary="Begin with an authenticator app; no code is asked for yet", responses=described(Begun, example=BEGUN),
)  # fmt: skip
def begin(request: Request, people: People, caller: Asking) -> Response:
    account, _ = signed_in(caller)
    with people.database.write() as connection:
        begun = totp.begin(connection, account, secret=people.secret)
        if begun is None:
            raise Problem(problems.TOTP_ON)
        record(connection, caller, "totp.begin", f"account:{account}", address=whence(request).address)
    return Json(begun, headers=UNSTORED)


@router.post(
    "/auth/totp/confirm", summary="Turn codes on with the password and a first one; the recovery codes are told this once",
    responses=described(Codes, example=Codes(["uapurj-cvrne5-oeur3x-2osi7j"])),
)  # fmt: skip
def confirm(given: Confirmation, request: Request, people: People, caller: Asking) -> Response:
    account, _ = signed_in(caller)
    _prove(people, account, given.password)
    with people.database.write() as connection:
        codes = totp.confirm(connection, account, given.code, now_ms(), secret=people.secret)
        if codes is None:
            raise invalid("code", "it is not the one that the app shows now, or nothing was begun", where="body")
        record(connection, caller, "totp.confirm", f"account:{account}", address=whence(request).address)
    return Json(Codes(codes), headers=UNSTORED)


@router.post(
    "/auth/totp/remove", status_code=204, response_class=Response, summary="Turn codes off, with password and code",
)  # fmt: skip
def remove(given: Removal, request: Request, people: People, caller: Asking) -> Response:
    account, _ = signed_in(caller)
    _prove(people, account, given.password)
    with people.database.write() as connection:
        if not totp.verify(connection, account, given.code, now_ms(), secret=people.secret):
            raise Problem(problems.CODE_REQUIRED, "the code is wrong, was used, or none is asked for")
        totp.remove(connection, account)
        record(connection, caller, "totp.remove", f"account:{account}", address=whence(request).address)
    return Response(status_code=204)


def _prove(people: People, account: int, password: str) -> None:
    """That it is the account's own person. Raises Problem."""
    people.throttle.password(account)
    with people.database.read() as connection:
        row = accounts.by_id(connection, account)
    if row is None or not people.hasher.verify(row.password, password):
        raise Problem(problems.LOGIN_FAILED, "the password is another")
