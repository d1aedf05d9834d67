"""Routers in; the same out, when each of their routes declares a policy; and each route told its whole template."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute, iter_route_contexts

from hub.auth.guard import Guarded, policies


def declared(router: APIRouter) -> APIRouter:
    """The router, when each of its routes declares one policy. Raises RuntimeError for one that does not."""
    for route in iter_route_contexts(router.routes):
        if isinstance(route.original_route, APIRoute):
            found = policies(route)
            if len(found) != 1:
                told = "give it one Depends(Allow(Policy...)), in a router with route_class=Guarded"
                raise RuntimeError(f"{route.path} declares {len(found)} policies; {told}")
    return router


def templates(routes: Sequence[Any]) -> None:
    """Writes the whole template of its path on each route: what stands there by itself has no prefix."""
    for context in iter_route_contexts(routes):
        if isinstance(context.original_route, Guarded):
            context.original_route.template = str(context.path)
