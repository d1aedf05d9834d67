"""A caller, a policy and a network in; nothing or a problem out. Every route declares its policy with `Allow`."""

from collections.abc import Callable, Coroutine, Sequence
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.params import Depends as Dependency
from fastapi.routing import APIRoute, RouteContext

from hub import problems
from hub.auth.callers import Callers, Credential, brought, within_scopes
from hub.auth.rights import everywhere, may, member
from hub.auth.tokens import Caller, NetworkRole
from hub.problems import Problem

PREFIX = "/api/v1"
_FOUND = "harmattan.caller"


class Policy(StrEnum):
    """Who may call a route. The last two are shown by what the route itself reads: a key in the path, a token in the body."""

    PUBLIC = "public"
    AUTHENTICATED = "authenticated"
    ADMIN = "admin"
    GATEWAY_KEY = "gateway key"
    ONE_TIME_TOKEN = "one-time token"  # noqa: S105  # the name of a policy


def guard(
    caller: Caller | None, policy: Policy, network: int | None = None, *, least: NetworkRole | None = None, within: bool = False
) -> None:
    """Policy x network. Raises Problem: 401 for nobody, 403 for too low a role, 404 for another network: ids cannot be probed.

    Without a network: AUTHENTICATED takes anybody known; ADMIN takes the hub's own admins, and with `within` who is an admin of
    any network, since the route asks again when it knows which. With one: its members of role `least` or higher (AUTHENTICATED:
    viewer, ADMIN: admin, unless said otherwise).
    """
    if policy not in (Policy.AUTHENTICATED, Policy.ADMIN):
        return
    caller = required(caller)
    if network is not None and not member(caller, network):
        raise Problem(problems.NOT_FOUND)
    if network is not None:
        allowed = may(caller, network, least or (NetworkRole.ADMIN if policy is Policy.ADMIN else NetworkRole.VIEWER))
    elif policy is Policy.ADMIN:
        allowed = everywhere(caller) or (within and NetworkRole.ADMIN in (caller.networks or {}).values())
    else:
        allowed = caller.gateway is None
    if not allowed:
        raise Problem(problems.FORBIDDEN)


def required(caller: Caller | None) -> Caller:
    """Whoever it is. Raises Problem: 401 for nobody."""
    if caller is None:
        raise Problem(problems.NO_TOKEN, headers={"WWW-Authenticate": 'Bearer realm="harmattan"'})
    return caller


class Allow:
    """A route's policy: `@router.get(..., dependencies=[Depends(Allow(Policy.ADMIN))])`, of a router of `Guarded` routes.

    `within`: an admin of one network may call it too; the route then guards the network that it is about.
    """

    def __init__(self, policy: Policy, *, within: bool = False) -> None:
        self.policy = policy
        self.within = within

    async def __call__(self, request: Request) -> None:
        caller = await caller_of(request)
        if self.policy is Policy.GATEWAY_KEY and "key" not in request.path_params:
            required(caller)
        guard(caller, self.policy, within=self.within)


class Guarded(APIRoute):
    """A route that asks its policy first: of who may not call it no body is taken, and no parameter is told to be wrong.

    A framework solves a dependency after it has read and parsed the body, so `Allow` is taken out of them.
    """

    template = "unknown"
    """Its whole path with the names of its parameters, once the application is put together."""

    def __init__(
        self, path: str, endpoint: Callable[..., Any], *, dependencies: Sequence[Dependency] | None = None, **named: Any
    ) -> None:
        given = dependencies or ()
        self.allows = tuple(one.dependency for one in given if isinstance(one.dependency, Allow))
        others = [one for one in given if not isinstance(one.dependency, Allow)]
        super().__init__(path, endpoint, dependencies=others, **named)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            for allow in self.allows:
                await allow(request)
            return await handle(request)

        return guarded


async def caller_of(request: Request) -> Caller | None:
    """Who sent the request, None for anybody. What is not valid is refused even where none is needed. Raises Problem.

    Looked up once a request, and in the thread pool unless this second's look is at hand. A key's scopes hold here, for all.
    """
    if _FOUND in request.scope:
        found: Caller | None = request.scope[_FOUND]
        return found
    given = brought(request.headers)
    caller = None if given is None else await _known(request, given)
    request.scope[_FOUND] = caller
    return caller


async def _known(request: Request, given: Credential) -> Caller:
    callers: Callers = request.app.state.callers
    known = callers.remembered(given)
    if known is None:
        known = await run_in_threadpool(callers.of, given)
    if not within_scopes(known, request.method, request.url.path.removeprefix(PREFIX)):
        raise Problem(problems.FORBIDDEN, f"this key's scopes are: {', '.join(sorted(known.scopes or ()))}")
    return known.caller


def again(request: Request) -> Caller | None:
    """Who sent a request that is still being answered, as of now. Blocking. Raises Problem when what they brought is over."""
    given = brought(request.headers)
    callers: Callers = request.app.state.callers
    return None if given is None else callers.of(given).caller


def signed_in(caller: Caller | None) -> tuple[int, str]:
    """The account and the session of a person who signed in. Neither a key nor a token of the shell will do. Raises Problem."""
    guard(caller, Policy.AUTHENTICATED)
    if caller is None or caller.account is None or caller.session is None:
        raise Problem(problems.FORBIDDEN, "sign in for this: a key or a token made in a shell may not do it")
    return caller.account, caller.session


def no_key(caller: Caller | None) -> None:
    """Not by an API key: a person who signed in, or a token made on the hub's own machine. Raises Problem."""
    if caller is not None and caller.key is not None:
        raise Problem(problems.FORBIDDEN, "sign in for this: an API key may not do it")


Asking = Annotated[Caller | None, Depends(caller_of)]


def allows(route: APIRoute | RouteContext) -> Sequence[Allow]:
    """A route's own `Allow`s; none of a route that is not Guarded."""
    own = route if isinstance(route, APIRoute) else route.original_route
    return own.allows if isinstance(own, Guarded) else ()


def policies(route: APIRoute | RouteContext) -> list[Policy]:
    """What a route declares: exactly one, or a test fails."""
    return [allow.policy for allow in allows(route)]
