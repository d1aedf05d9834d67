"""What routes answer with: structs as JSON, lists with a cursor, a Link and an ETag, times as RFC 3339. And the way back in."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from hub.problems import invalid

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
LAST_MS = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z: a gateway with a wild clock must not break an answer."""
FIRST_MS = -62_135_596_800_000
LIST_S = 5
"""A list of the public changes with each sample, and is asked for by every page that opens."""


class Json(Response):
    """A struct, or JSON text that is ready, as an answer."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return content if isinstance(content, bytes) else msgspec.json.encode(content)


def tagged(request: Request, content: Any, headers: Mapping[str, str] | None = None) -> Response:
    """A struct, or JSON that is ready, with its ETag; 304 without it when the asker has that one (RFC 9110, 13.1.2)."""
    body = content if isinstance(content, bytes) else msgspec.json.encode(content)
    tag = f'W/"{blake2b(body, digest_size=12).hexdigest()}"'
    known = {"ETag": tag, "Cache-Control": "no-cache", **(headers or {})}
    asked = request.headers.get("if-none-match", "")
    if asked and (
        asked.strip() == "*" or tag.removeprefix("W/") in (part.strip().removeprefix("W/") for part in asked.split(","))
    ):
        return Response(status_code=304, headers=known)
    return Json(body, headers=known)


def listing(request: Request, results: Sequence[Any], *, limit: int, following: str | None) -> Response:
    """`{"results": [...], "meta": {"limit", "next"}}`, and where the list goes on as a Link (RFC 8288).

    A shared cache may give it to strangers for LIST_S; the HTTP face forbids that for who brought a credential.
    """
    headers = {"Cache-Control": f"public, max-age={LIST_S}", **link(request, following)}
    return tagged(request, {"results": results, "meta": {"limit": limit, "next": following}}, headers)


def link(request: Request, following: str | None) -> dict[str, str]:
    """The header that names the next page: this request with another cursor."""
    if following is None:
        return {}
    asked = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    return {"Link": f'<{request.url.path}?{urlencode([*asked, ("cursor", following)])}>; rel="next"'}


def described(
    *kinds: Any, example: Any = None, meaning: str = "As asked", media: str = "application/json"
) -> dict[int | str, Any]:
    """An answer that is one of these structs, for OpenAPI; the API's document collects `x-components`."""
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    content: dict[str, Any] = {"schema": {**schemas[0], "x-components": components}}
    if example is not None:
        content["example"] = msgspec.json.decode(msgspec.json.encode(example))
    return {200: {"description": meaning, "content": {media: content}}}


def cursor(kind: str, *position: int) -> str:
    """A place in one list, opaque to whoever holds it. `kind` says which list, so that another one refuses it."""
    return base64.urlsafe_b64encode(msgspec.json.encode([kind, *position])).decode().rstrip("=")


def place(text: str, kind: str, numbers: int) -> tuple[int, ...]:
    """The position in a cursor of this list. Raises Problem for one that is cut, invented or another list's."""
    try:
        found = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=tuple[str | int, ...])
    except (binascii.Error, msgspec.DecodeError, UnicodeError, ValueError):
        found = ()
    position = [part for part in found[1:] if isinstance(part, int) and -(1 << 63) <= part < 1 << 63]
    if not found or found[0] != kind or len(position) != numbers or len(found) != numbers + 1:
        raise invalid("cursor", "it is not one of this list; start without it, then use meta.next as it came")
    return tuple(position)


def rfc3339(unix_ms: int) -> str:
    """Unix [ms] as `2026-11-24T22:00:00.000Z`."""
    at = EPOCH + max(FIRST_MS, min(unix_ms, LAST_MS)) * MILLISECOND
    return at.isoformat(timespec="milliseconds")[:23] + "Z"


def moment(text: str, name: str) -> int:
    """RFC 3339 with an offset as Unix [ms]. Raises Problem. A space stands for the + that a query string turned into one."""
    allowed = "a time with an offset, like 2026-11-24T22:00:00Z or 2026-11-24T23:00:00%2B01:00"
    try:
        at = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text)
    except ValueError as error:
        raise invalid(name, f"'{text}' is no time; write {allowed}") from error
    if at.tzinfo is None:
        raise invalid(name, f"'{text}' has no offset; write {allowed}")
    return (at - EPOCH) // MILLISECOND
