"""/gateways/{name}/ledger: what of a gateway's rows has arrived, what has not."""

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import select

from hub import problems
from hub.answers import described, tagged
from hub.auth.guard import Allow, Asking, Policy, guard
from hub.context import Opened
from hub.database.tables import gateway
from hub.front.counts import Counts, Ledger, StreamLedger, ledger
from hub.problems import Problem

router = APIRouter()
ROWS = Counts(produced=812, stored=812)
EXAMPLE = Ledger([StreamLedger("3f1c9a0b7d2e4856", "9b1d2c3e4f506172", None, [[1, 812]], [], ROWS)], [], ROWS)


@router.get(
    "/gateways/{name}/ledger", tags=["gateways"], dependencies=[Depends(Allow(Policy.ADMIN, within=True))],
    summary="A gateway's rows: produced, stored, pending, stream by stream", responses=described(Ledger, example=EXAMPLE),
)  # fmt: skip
def one_ledger(name: str, request: Request, context: Opened, caller: Asking) -> Response:
    with context.database.read() as connection:
        found = connection.execute(select(gateway.c.id, gateway.c.network).where(gateway.c.name == name)).one_or_none()
        if found is None:
            raise Problem(problems.NOT_FOUND)
        guard(caller, Policy.ADMIN, found.network)
        return tagged(request, ledger(connection, found.id))
