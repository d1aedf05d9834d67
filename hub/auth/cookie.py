"""A refresh token in a browser: a cookie no script can read, sent to this hub's own pages alone, and only for renewing."""

from urllib.parse import urlsplit

from fastapi import Request, Response

from hub import problems
from hub.problems import Problem

NAME = "harmattan_refresh"
PATH = "/api/v1/auth"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def put(request: Request, response: Response, token: str, life_s: int) -> None:
    """HttpOnly, SameSite=Strict; Secure unless the hub is asked in plain HTTP on its own machine, as the demo is."""
    response.set_cookie(NAME, token, max_age=life_s, path=PATH, httponly=True, samesite="strict", secure=_secure(request))


def drop(request: Request, response: Response) -> None:
    response.delete_cookie(NAME, path=PATH, httponly=True, samesite="strict", secure=_secure(request))


def held(request: Request) -> str | None:
    """The token in the cookie. Raises Problem when another site's page sends it."""
    token = request.cookies.get(NAME)
    if token:
        own_page(request)
    return token or None


def own_page(request: Request) -> None:
    """That a page of this hub sends the request. Raises Problem.

    Browsers say so themselves: Sec-Fetch-Site, and Origin on every POST. Who sends neither is no browser and has no use for a
    cookie. SameSite=Strict alone would let in the other hosts of the same site.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    public_url = request.app.state.context.settings.public_url
    own = {request.headers.get("host", "").lower(), urlsplit(public_url or "").netloc.lower()} - {""}
    same = site in (None, "same-origin") and (origin is None or urlsplit(origin).netloc.lower() in own)
    if not same or (site is None and origin is None):
        raise Problem(problems.CROSS_SITE)


def _secure(request: Request) -> bool:
    return request.url.scheme != "http" or (request.url.hostname or "") not in LOOPBACK
