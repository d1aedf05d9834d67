"""What the fleet's routes share: a list's limit, cursor and end, an id from a path, who asks for a change and from where."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request
from msgspec import Struct

from hub import problems
from hub.audit import record
from hub.auth.guard import Allow, Policy
from hub.auth.tokens import Caller
from hub.fleet.category import Categories
from hub.problems import Problem

HIGHEST_ID = (1 << 63) - 1
PUBLIC = Depends(Allow(Policy.PUBLIC))
KNOWN = Depends(Allow(Policy.AUTHENTICATED))
"""The route asks for a role in the network that it is about."""
WITHIN = Depends(Allow(Policy.ADMIN, within=True))
HUB = Depends(Allow(Policy.ADMIN))
NOON = "2026-11-24T12:00:00.000Z"

Limit = Annotated[int, Query(ge=1, le=1000, description="At most this many, 1 to 1000.")]
Cursor = Annotated[str | None, Query(alias="cursor", max_length=200, description="Goes on where a list ended: its meta.next.")]
Id = Annotated[int, Path(description="An id from a list.")]
Name = Annotated[str, Path(max_length=100, description="A gateway's name.")]


class Meta(Struct, frozen=True):
    """`next` is the cursor of what follows, null at the end."""

    limit: int
    next: str | None


async def categories_of(request: Request) -> Categories:
    found: Categories = request.app.state.categories
    return found


Kept = Annotated[Categories, Depends(categories_of)]


class Noting:
    """Writes the audit line of a change, in its transaction."""

    def __init__(self, request: Request, caller: Caller | None) -> None:
        self._caller = caller
        self._address = request.client.host if request.client else None

    def __call__(self, connection: Any, action: str, object: str, network: int | None, **detail: Any) -> None:
        record(connection, self._caller, action, object, network=network, address=self._address, **detail)


def known(number: int) -> int:
    """An id that a table could hold; any other is as unknown as one that is not there. Raises Problem."""
    if not 0 < number <= HIGHEST_ID:
        raise Problem(problems.NOT_FOUND)
    return number


def only(found: Sequence[Any]) -> Any:
    """The one that was asked for. Raises Problem when there is none."""
    if not found or found[0] is None:
        raise Problem(problems.NOT_FOUND)
    return found[0]
