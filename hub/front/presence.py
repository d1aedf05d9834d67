"""What a gateway last said, in; `telemetry/<gateway>/status` out. Kept in memory: the next hello tells anew, within an hour."""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from hub.store.values import rfc3339

TOLD_AGAIN_MS = 60_000
"""Data alone renews `seen` at most once a minute."""


class _Seen(Struct):
    online: bool
    seen_ms: int
    pending: int
    told_ms: int = 0


class Presence:
    """Each method returns the message to publish, or None when nothing new is worth one."""

    def __init__(self) -> None:
        self._gateways: dict[str, _Seen] = {}

    def hello(self, gateway: str, pending: int, now_ms: int) -> bytes:
        self._gateways[gateway] = _Seen(True, now_ms, max(0, pending), now_ms)
        return self._message(self._gateways[gateway])

    def bye(self, gateway: str, now_ms: int) -> bytes:
        """The gateway's will: it was last seen before."""
        seen = self._gateways.setdefault(gateway, _Seen(False, now_ms, 0))
        seen.online = False
        return self._message(seen)

    def data(self, gateway: str, rows: int, now_ms: int) -> bytes | None:
        """So many of its rows came and were new."""
        seen = self._gateways.setdefault(gateway, _Seen(True, now_ms, 0))
        was, seen.online, seen.seen_ms = seen.online, True, now_ms
        cleared = seen.pending and rows >= seen.pending
        seen.pending = max(0, seen.pending - rows)
        if was and not cleared and now_ms - seen.told_ms < TOLD_AGAIN_MS:
            return None
        seen.told_ms = now_ms
        return self._message(seen)

    def all(self) -> Iterator[tuple[str, bytes]]:
        """For a broker that has forgotten everything."""
        return ((gateway, self._message(seen)) for gateway, seen in list(self._gateways.items()))

    def _message(self, seen: _Seen) -> bytes:
        return msgspec.json.encode({"online": seen.online, "seen": rfc3339(seen.seen_ms), "pending": seen.pending})


def status_topic(gateway: str) -> str:
    return f"telemetry/{gateway}/status"
