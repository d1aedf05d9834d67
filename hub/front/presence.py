"""What a gateway last said, in; `telemetry/<gateway>/status` out. Kept in memory; a hub that starts begins with what is stored.

A gateway says hello at least hourly: one that has not been heard for longer is offline, though no will came.
"""

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, func, select

from hub.answers import rfc3339
from hub.database.tables import gateway, latest, sensor
from hub.front.counts import counts

SILENT_MS = 65 * 60_000
FIRST_SILENT_MS = 16 * 60_000
"""After the hub's start: it may have missed a will. A gateway with sensors sends every ten minutes, if they are silent hourly."""
TOLD_AGAIN_MS = 60_000
"""Data alone renews `seen` at most once a minute."""


class _Seen(Struct):
    online: bool
    seen_ms: int
    pending: int
    told_ms: int = 0
    heard: bool = True


class Presence:
    """Each method returns the message to publish, or None when nothing new is worth one."""

    def __init__(self) -> None:
        self._gateways: dict[str, _Seen] = {}

    def remember(self, stored: Iterable[tuple[str, int, int]], now_ms: int) -> None:
        """(gateway, when its newest sample was received, rows that are still to come), of a hub that begins."""
        for name, seen_ms, pending in stored:
            online = now_ms - seen_ms < FIRST_SILENT_MS
            self._gateways.setdefault(name, _Seen(online, seen_ms, pending, heard=False))

    def knows(self, gateway: str) -> bool:
        """Whether anything was ever told of it here."""
        return gateway in self._gateways

    def silent(self, now_ms: int) -> list[tuple[str, bytes]]:
        """Gateways that have become offline without a word; asked about once a minute."""
        told = []
        for name, seen in self._gateways.items():
            if seen.online and now_ms - seen.seen_ms >= (SILENT_MS if seen.heard else FIRST_SILENT_MS):
                seen.online = False
                told.append((name, self._message(seen)))
        return told

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
        was, seen.online, seen.seen_ms, seen.heard = seen.online, True, now_ms, True
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


def stored(connection: Connection) -> list[tuple[str, int, int]]:
    """What the tables say of each gateway that ever sent a sample."""
    asked = select(gateway.c.name, func.max(latest.c.received_ms)).join(sensor, sensor.c.gateway == gateway.c.id)
    rows = connection.execute(asked.join(latest, latest.c.sensor == sensor.c.id).group_by(gateway.c.name)).all()
    pending = counts(connection) if rows else {}
    return [(name, seen_ms, pending[name].pending if name in pending else 0) for name, seen_ms in rows]


def status_topic(gateway: str) -> str:
    return f"telemetry/{gateway}/status"
