"""What an HTTP answer says when it cannot be given: RFC 9457 problems, a closed list, each with a stable path and a page.

A request's bad data is 4xx, never 500. What someone may not see answers as what does not exist.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from readings.errors import Drop

MEDIA_TYPE = "application/problem+json"


class Kind(Struct, frozen=True):
    """One sort of problem. `page` says to a person what it means and what to do about it."""

    name: str
    status: int
    title: str
    page: str

    @property
    def path(self) -> str:
        return f"/problems/{self.name}"


NOT_FOUND = Kind(
    "not-found",
    404,
    "There is nothing here",
    "The address is unknown, or what it names may not be seen by you. Both answer alike.",
)
METHOD = Kind(
    "method-not-allowed", 405, "This address does not know that method", "The header Allow lists what it knows. See /api-docs."
)
INVALID = Kind(
    "invalid-request",
    422,
    "The request has a value that cannot be used",
    "`errors` names each value, where it stood, and what is allowed. Times need an offset: 2026-11-24T22:00:00Z.",
)
NO_HTTP = Kind("bad-request", 400, "This is no HTTP request", "Speak HTTP/1.1 here; behind TLS, use https.")
NO_TOKEN = Kind(
    "unauthorized",
    401,
    "This needs a token that is valid",
    "Send `Authorization: Bearer <token>`. A token has an end: make a new one with `harmattan-hub token --role admin`.",
)
FORBIDDEN = Kind("forbidden", 403, "Your role may not do this", "The token is valid, but this address asks for a higher role.")
TOKEN_UNKNOWN = Kind(
    "enrolment-token-unknown",
    404,
    "This enrolment token was never issued here",
    "Check the hub's address, or issue a token: `harmattan-hub gateway enrol NAME`.",
)
TOKEN_CUT = Kind(
    "enrolment-token-cut",
    422,
    "This enrolment token is not whole",
    "A token has 48 characters, 0-9 and a-f. Copy the whole line that `harmattan-hub gateway enrol` printed.",
)
TOKEN_USED = Kind(
    "enrolment-token-used",
    409,
    "This enrolment token was used",
    "A token works once. If its gateway has no credential file, revoke the gateway and enrol it again.",
)
TOKEN_EXPIRED = Kind(
    "enrolment-token-expired", 410, "This enrolment token is too old", "Issue a new one: `harmattan-hub gateway enrol NAME`."
)
TOKEN_REVOKED = Kind(
    "enrolment-token-revoked",
    410,
    "This enrolment token was withdrawn",
    "A newer token was issued for this gateway, or the gateway was revoked. Issue a new one: `harmattan-hub gateway enrol NAME`.",
)
TOO_MANY_KEYS = Kind(
    "too-many-keys",
    409,
    "There are too many API keys",
    "A person and a gateway have at most 50 keys each. Revoke one not in use.",
)
LOGIN_FAILED = Kind(
    "login-failed",
    401,
    "This address and password do not belong together",
    "The hub does not say which of the two is wrong, nor whether an account is disabled. A new password: /#/forgot.",
)
CODE_REQUIRED = Kind(
    "code-required",
    401,
    "This account asks for a code",
    "Send `code`: six digits of the authenticator app, good once, or one of the recovery codes.",
)
SESSION_OVER = Kind(
    "session-over",
    401,
    "This session is over",
    "It was ended, was idle for 14 days or is 90 days old; or its refresh token came back after it was used. Sign in again.",
)
LINK_OVER = Kind(
    "link-over",
    410,
    "This link does not work any more",
    "A link works once and for a while: an hour for a new password, 48 hours for an address or a new account. Ask for another.",
)
REGISTRATION_CLOSED = Kind(
    "registration-closed", 403, "This hub makes no accounts by itself", "Ask an admin of the hub for an account."
)
CROSS_SITE = Kind(
    "cross-site",
    403,
    "Only this hub's own pages may use its cookie",
    "A browser says where a request comes from. Programs take the refresh token from the answer, not from the cookie.",
)
ADDRESS_TAKEN = Kind(
    "address-taken", 409, "This address has an account", "Find it in the list of users, or take another address."
)
LAST_ADMIN = Kind("last-admin", 409, "The hub would be without an admin", "Make another admin first.")
NO_MAIL = Kind("no-mail", 409, "This hub sends no mail", "Its SMTP_URL is not set. An admin of the hub can hand out links.")
TOTP_ON = Kind(
    "totp-on",
    409,
    "Codes are asked for already",
    "An authenticator app is set up for this account. Remove it first, with your password and a code.",
)
TOO_MANY = Kind("too-many-requests", 429, "That was too often", "Wait for the seconds that Retry-After names, then try again.")
KEY_REUSED = Kind(
    "idempotency-key-reused",
    422,
    "This Idempotency-Key was used for another request",
    "A key stands for one request with one body, for 24 hours. Take a new key for a new request.",
)
KEY_RUNNING = Kind(
    "idempotency-key-running",
    409,
    "The first request with this Idempotency-Key is still under way",
    "Send the same request again after the seconds that Retry-After names: it gets the first one's answer.",
)
TOO_SLOW = Kind(
    "request-timeout", 408, "The request did not arrive in time", "A request has 30 s to arrive as a whole. Send it again."
)
TOO_LARGE = Kind("content-too-large", 413, "The request's body is too large", "Send less at once.")
MEDIA = Kind("unsupported-media-type", 415, "This address reads JSON only", "Send `Content-Type: application/json`.")
INTERNAL = Kind(
    "internal-error", 500, "The hub made a mistake", "It is in the hub's log under the request's id. Please report both."
)
UNAVAILABLE = Kind(
    "unavailable",
    503,
    "The hub cannot do this right now",
    "Try again after the seconds that Retry-After names. /ready says what is missing.",
)

NAME_TAKEN = Kind(
    "name-taken", 409, "This name is taken", "Names of networks and gateways are unique in a hub, those of stations in a network."
)
IN_USE = Kind(
    "in-use",
    409,
    "This is still in use",
    "What has a history is kept. A network goes when it is empty, a station closes when no sensor stands there, a sensor goes "
    "while it has no samples.",
)
OVERLAP = Kind(
    "history-overlap",
    409,
    "This would overlap what is known already",
    "A sensor stands at one place at a time, and one sensor answers to a name. `from` may lie in the past, but not before the "
    "newest change.",
)
STATION_CLOSED = Kind(
    "station-closed",
    409,
    "This station is closed",
    "Nothing moves to a closed station. It is kept for its history; make another one.",
)
LAST_NETWORK_ADMIN = Kind(
    "last-network-admin",
    409,
    "A network keeps one admin",
    "Make somebody else an admin of this network first, or ask an admin of the hub.",
)
NOT_THIS_GATEWAY = Kind(
    "gateway-state",
    409,
    "This gateway is not in a state for that",
    "Revoke an enrolled gateway before it is invited again. One of kind push has keys and no invitation, a revoked one neither.",
)

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        *(NOT_FOUND, METHOD, NO_HTTP, INVALID, NO_TOKEN, FORBIDDEN),
        *(TOKEN_UNKNOWN, TOKEN_CUT, TOKEN_USED, TOKEN_EXPIRED, TOKEN_REVOKED),
        *(TOO_MANY_KEYS, TOTP_ON, LOGIN_FAILED, CODE_REQUIRED, SESSION_OVER, LINK_OVER, REGISTRATION_CLOSED),
        *(CROSS_SITE, ADDRESS_TAKEN, LAST_ADMIN, NO_MAIL),
        *(NAME_TAKEN, IN_USE, OVERLAP, STATION_CLOSED, LAST_NETWORK_ADMIN, NOT_THIS_GATEWAY),
        *(KEY_REUSED, KEY_RUNNING, TOO_MANY, TOO_SLOW, TOO_LARGE, MEDIA, INTERNAL, UNAVAILABLE),
    )
}


class Problem(Drop):
    """This request cannot be answered. `more` becomes members of the document, `headers` of the answer."""

    def __init__(self, kind: Kind, detail: str = "", *, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail or kind.title, hint=kind.page if not detail else "")
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more

    def document(self, instance: str) -> dict[str, Any]:
        """RFC 9457, section 3.1; `instance` is the id of the request."""
        said: dict[str, Any] = {"type": self.kind.path, "title": self.kind.title, "status": self.kind.status}
        if self.detail:
            said["detail"] = self.detail
        return said | {"instance": instance} | self.more

    def body(self, instance: str) -> bytes:
        return msgspec.json.encode(self.document(instance))


def invalid(name: str, why: str, *, where: str = "query", **more: Any) -> Problem:
    """One value of the request that cannot be used."""
    return Problem(INVALID, f"{name}: {why}", errors=[{"in": where, "name": name, "why": why}], **more)
