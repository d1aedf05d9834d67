"""/auth/keys: a person's own API keys, made with scopes and told once, listed by their first digits, and revoked."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from msgspec import Struct
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr

from hub import problems
from hub.answers import EPOCH, MILLISECOND, Json, described, tagged
from hub.audit import record
from hub.auth import keys
from hub.auth.callers import Scope
from hub.auth.guard import Allow, Asking, Guarded, Policy, signed_in
from hub.auth.keys import ApiKey, NewKey
from hub.auth.parts import People, now_ms, whence
from hub.auth.routes.fields import Name
from hub.auth.routes.session import NOON, UNSTORED
from hub.auth.routes.users import Meta
from hub.problems import Problem, invalid

router = APIRouter(route_class=Guarded, tags=["API keys"], dependencies=[Depends(Allow(Policy.AUTHENTICATED))])
HIGHEST_ID = (1 << 63) - 1


class Keys(Struct, frozen=True):
    results: list[ApiKey]
    meta: Meta


def _moment(text: str) -> str:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError("it is no time; write it like 2026-12-31T00:00:00Z") from error
    if at.tzinfo is None or "T" not in text.upper():
        raise ValueError("it has no offset; write it like 2026-12-31T00:00:00Z")
    return text


Expires = Annotated[StrictStr, Field(max_length=40, json_schema_extra={"format": "date-time"}), AfterValidator(_moment)]


class Wish(BaseModel):
    """`scopes`: read (GET), ingest (POST /ingest), write (all that you may, but for what needs a sign-in)."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"name": "notebook", "scopes": ["read"], "expires": None}}
    )

    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=3)]
    expires: Expires | None = None


KEY = ApiKey(3, "notebook", ["read"], "4fd2a1", NOON, None, None)
NEW = NewKey(3, "notebook", ["read"], "4fd2a1", NOON, None, None, "4fd2a1<58 more hex digits>")


@router.get("/auth/keys", summary="Your API keys", responses=described(Keys, example=Keys([KEY], Meta(keys.PER_OWNER, None))))
def list_keys(request: Request, people: People, caller: Asking) -> Response:
    account, _ = signed_in(caller)
    with people.database.read() as connection:
        found = keys.listed(connection, account=account)
    return tagged(request, Keys(found, Meta(keys.PER_OWNER, None)))


@router.post(
    "/auth/keys", status_code=201, summary="Make an API key; it is told this once",
    responses={201: described(NewKey, example=NEW)[200]},
)  # fmt: skip
def add_key(given: Wish, request: Request, people: People, caller: Asking) -> Response:
    account, _ = signed_in(caller)
    at = now_ms()
    expires_ms = None if given.expires is None else _future_ms(given.expires, at)
    with people.database.write() as connection:
        number, key = keys.issue(
            connection, name=given.name, scopes=given.scopes, account=account, expires_ms=expires_ms, now_ms=at
        )
        made = keys.told(connection, number, key)
        record(connection, caller, "key.add", f"key:{number}", address=whence(request).address, scopes=made.scopes)
    return Json(made, 201, headers=UNSTORED)


@router.delete("/auth/keys/{key}", status_code=204, response_class=Response, summary="Revoke an API key")
def revoke_key(
    key: Annotated[int, Path(description="An id from the list.")], request: Request, people: People, caller: Asking
) -> Response:
    account, _ = signed_in(caller)
    with people.database.write() as connection:
        if not 0 < key <= HIGHEST_ID or not keys.revoke(connection, key, account=account, now_ms=now_ms()):
            raise Problem(problems.NOT_FOUND)
        record(connection, caller, "key.revoke", f"key:{key}", address=whence(request).address)
    people.callers.forget()
    return Response(status_code=204)


def _future_ms(text: str, at_ms: int) -> int:
    found = (datetime.fromisoformat(text) - EPOCH) // MILLISECOND
    if found <= at_ms:
        raise invalid("expires", "it is over already; give a later time, or none", where="body")
    return found
