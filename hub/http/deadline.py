"""A connection in; a request's head, or the connection's end. uvicorn itself waits for ever for a head that never comes whole.

One address has a share of the connections, or a single slow client with many of them would take all that the process may open.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hub.http.client import Proxies, counted
from hub.problems import MEDIA_TYPE, NO_HTTP, Problem

HEAD_S = 15.0
"""How long a connection may take from its first byte, or from being opened, to the end of a request's head."""
HEAD_BYTES = 32 * 1024
MOST_OF_ONE = 256
"""Connections of one address: a class of 40 behind one router, six for each browser. A trusted proxy has no limit."""


class Deadline(HttpToolsProtocol):
    """uvicorn's protocol; a head that is too slow or too long ends the connection without an answer."""

    head_s = HEAD_S
    most_of_one = MOST_OF_ONE

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._waiting: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._peer: str | None = None
        # Kept on what all connections of one server share.
        self._open: Counter[str] = self.server_state.__dict__.setdefault("harmattan_open", Counter())

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._wait()
        if self.client is not None and not _proxies(self.config.forwarded_allow_ips).trust(self.client[0]):
            self._peer = counted(self.client[0])
            self._open[self._peer] += 1
            if self._open[self._peer] > self.most_of_one:
                self._give_up()

    def data_received(self, data: bytes) -> None:
        if self._waiting is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._waiting is not None and self._head_bytes > HEAD_BYTES:
            self._give_up()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._waiting is None:
            self._wait()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        if self._peer is not None:
            self._open[self._peer] -= 1
            if not self._open[self._peer]:
                del self._open[self._peer]
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP at all answers as a problem too."""
        body = Problem(NO_HTTP, msg).body(secrets.token_hex(8))
        head = (
            f"HTTP/1.1 400 Bad Request\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self._stop_waiting()
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _wait(self) -> None:
        self._head_bytes = 0
        self._waiting = self.loop.call_later(self.head_s, self._give_up)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._stop_waiting()
        self.transport.abort()


def _proxies(given: Sequence[str] | str | None) -> Proxies:
    """TRUSTED_PROXIES as uvicorn's configuration holds them."""
    return _read_proxies(tuple(given) if isinstance(given, list | tuple) else ())


@lru_cache(8)
def _read_proxies(trusted: tuple[str, ...]) -> Proxies:
    return Proxies(trusted)
