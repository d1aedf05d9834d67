"""A caller, a policy and a network in; nothing or a problem out. Every route declares its policy with `Allow`."""

from enum import StrEnum
from typing import Annotated

from fastapi import Depends, Request
from fastapi.routing import APIRoute

from hub import problems
from hub.auth.tokens import BadToken, Caller, Role, Tokens
from hub.problems import Problem


class Policy(StrEnum):
    """Who may call a route. The last two prove themselves by something in the request that the route itself checks."""

    PUBLIC = "public"
    AUTHENTICATED = "authenticated"
    ADMIN = "admin"
    GATEWAY_KEY = "gateway key"
    ONE_TIME_TOKEN = "one-time token"  # noqa: S105  # the name of a policy


NEEDS = {Policy.AUTHENTICATED: (Role.AUTHENTICATED, Role.ADMIN), Policy.ADMIN: (Role.ADMIN,)}


def guard(caller: Caller | None, policy: Policy, network: int | None = None) -> None:
    """Raises Problem: 401 for nobody, 403 for too low a role, 404 for another network, so that ids cannot be probed."""
    needed = NEEDS.get(policy)
    if needed is None:
        return
    if caller is None:
        raise Problem(problems.NO_TOKEN, headers={"WWW-Authenticate": 'Bearer realm="harmattan"'})
    if caller.role not in needed:
        raise Problem(problems.FORBIDDEN)
    if network is not None and not member(caller, network):
        raise Problem(problems.NOT_FOUND)


def member(caller: Caller | None, network: int) -> bool:
    """Whether a caller belongs to a network and may see what is private there."""
    return caller is not None and (caller.networks is None or network in caller.networks)


class Allow:
    """A route's policy, as its dependency: `@router.get(..., dependencies=[Depends(Allow(Policy.ADMIN))])`."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    async def __call__(self, request: Request) -> None:
        guard(await caller_of(request), self.policy)


async def caller_of(request: Request) -> Caller | None:
    """Who sent the request, None for anybody. A token that is not valid is refused even where none is needed. Raises Problem."""
    given = request.headers.get("authorization")
    if given is None:
        return None
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _refused("invalid_request", "write it as: Authorization: Bearer <token>")
    tokens: Tokens = request.app.state.tokens
    try:
        return tokens.read(token.strip())
    except BadToken as error:
        raise _refused("invalid_token", str(error)) from error


def _refused(error: str, why: str) -> Problem:
    return Problem(problems.NO_TOKEN, why, headers={"WWW-Authenticate": f'Bearer realm="harmattan", error="{error}"'})


Asking = Annotated[Caller | None, Depends(caller_of)]


def policies(route: APIRoute) -> list[Policy]:
    """What a route declares: exactly one, or a test fails."""
    return [used.call.policy for used in route.dependant.dependencies if isinstance(used.call, Allow)]
