"""An Origin in; the header fields that let its pages read the answer out, or none. Never for any origin, never with cookies.

The routes that live by the refresh cookie are for the hub's own page alone.
"""

from collections.abc import Mapping, Sequence

Fields = list[tuple[bytes, bytes]]
METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
ASKED = b"Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, X-API-Key, X-Request-ID"
SHOWN = b"ETag, Idempotent-Replayed, Link, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-ID"
OWN_PAGE_ALONE = ("/api/v1/auth/refresh", "/api/v1/auth/logout")
VARIES = (b"vary", b"Origin")


class Cors:
    """CORS_ORIGINS."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._fields: Mapping[bytes, Fields] = {
            origin.encode(): [(b"access-control-allow-origin", origin.encode()), (b"access-control-expose-headers", SHOWN)]
            for origin in origins
        }
        self.any = bool(origins)

    def fields(self, path: str, origin: bytes | None) -> Fields:
        """For an answer. That it depends on Origin is said to caches even where there was none."""
        if not self.any:
            return []
        if origin is None or path.startswith(OWN_PAGE_ALONE):
            return [VARIES]
        return [*self._fields.get(origin, ()), VARIES]

    def preflight(self, path: str, origin: bytes) -> Fields:
        """For a browser that asks first; without the fields it does not go on."""
        fields = self.fields(path, origin)
        if len(fields) < 2:
            return fields
        allowed = [(b"access-control-allow-methods", METHODS), (b"access-control-allow-headers", ASKED)]
        return [*fields, *allowed, (b"access-control-max-age", b"600")]
