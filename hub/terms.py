"""What a route asks of its requests beside its policy, each said as a dependency: `Body`, `Limited`, `Idempotent`.

The HTTP face reads them off the route before anything of the body was taken.
"""

from collections.abc import Callable
from typing import Any

from fastapi import Depends, Header, Request
from msgspec import Struct

from hub import problems
from hub.cache import Limits
from hub.problems import Problem

BODY_BYTES = 1 << 20


class Body:
    """This route's bodies may have so many bytes; 1 MiB where nothing is said. `dependencies=[Depends(Body(8 << 20))]`."""

    def __init__(self, most: int) -> None:
        self.most = most

    async def __call__(self) -> None:
        """Held while the body comes in."""


class Limited:
    """A limit of this route's own, for each client address: `dependencies=[Depends(Limited("enrol", (60, 3600)))]`."""

    def __init__(self, name: str, per: tuple[int, int]) -> None:
        self.name = name
        self.per = per

    async def __call__(self, request: Request) -> None:
        limits: Limits = request.app.state.limits
        verdict = limits.hit(self.name, address_of(request), per=self.per)
        if not verdict.allowed:
            raise too_many(verdict.reset_s, f"{self.name}: {self.per[0]} in {self.per[1]} s")


class Idempotent:
    """A POST with an Idempotency-Key is done once: who repeats it gets the first answer. `dependencies=[Depends(Idempotent())]`.

    Not for answers with a secret in them: those are stored nowhere.
    """

    async def __call__(self, key: str | None = Header(None, alias="Idempotency-Key", max_length=255)) -> None:
        """Done around the route by the HTTP face; named here so that the API's document shows the header."""


class Terms(Struct, frozen=True):
    """What one route asks."""

    body_bytes: int = BODY_BYTES
    idempotent: bool = False


NONE = Terms()


def terms_of(route: Any) -> Terms:
    """A route's terms, read once and kept on it."""
    found: Terms | None = getattr(route, "terms", None)
    if found is None:
        dependant = getattr(route, "dependant", None)
        calls: list[Callable[..., Any] | None] = [used.call for used in dependant.dependencies] if dependant else []
        most = next((call.most for call in calls if isinstance(call, Body)), BODY_BYTES)
        found = Terms(most, any(isinstance(call, Idempotent) for call in calls))
        if route is not None:
            route.terms = found
    return found


def address_of(request: Request) -> str:
    """The client's address as it is counted: what hub.http.client found, an IPv6 network for its addresses."""
    return str(request.scope.get("harmattan.address", "unknown"))


def too_many(wait_s: int, which: str) -> Problem:
    return Problem(problems.TOO_MANY, f"more than {which}", headers={"Retry-After": str(wait_s)})


ONCE = Depends(Idempotent())
"""For `dependencies=[...]` of a POST."""
