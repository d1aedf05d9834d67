"""/enrol: how a gateway comes in."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from hub.answers import Json, described
from hub.auth.guard import Allow, Guarded, Policy
from hub.auth.secrets import hub_secret
from hub.context import Opened
from hub.fleet import enrolment
from hub.fleet.enrolment import Credential
from hub.terms import Limited

router = APIRouter(route_class=Guarded, tags=["gateways"])
ENROLMENTS = (300, 3600)
"""From one address in an hour: a van full of gateways comes in over one router; a token cannot be guessed anyway."""
CREDENTIAL = Credential("unilag-01", "<64 hex digits>", "<64 hex digits>", 1)


class Token(BaseModel):
    """What a gateway sends once."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"token": "385c468e048b7a4c62342ee79d2991d0f6f1e40a673716d1"}}
    )

    token: Annotated[str, Field(max_length=200)]


@router.post(
    "/enrol", dependencies=[Depends(Allow(Policy.ONE_TIME_TOKEN)), Depends(Limited("enrol", ENROLMENTS))],
    summary="A one-time token becomes this gateway's credential file", responses=described(Credential, example=CREDENTIAL),
)  # fmt: skip
def enrol(given: Token, request: Request, context: Opened) -> Response:
    settings = context.settings
    secret, address = hub_secret(settings.data_dir), request.client.host if request.client else None
    made = enrolment.redeem(context.database, given.token, secret=secret, broker_dir=settings.broker, address=address)
    return Json(made, headers={"Cache-Control": "no-store"})
