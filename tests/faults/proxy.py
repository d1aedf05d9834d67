"""A TCP port in; the same server behind a bad link out: resets, silence, slowness, cuts, single bytes, flipped bits.

`Proxy(port)` listens on a port of its own; `fault` says what the link does now, `reset()` breaks what is connected.
"""

import socket
import struct
import threading
import time
from contextlib import suppress
from random import Random
from typing import Self

from msgspec import Struct

CHUNK = 16384
RST = struct.pack("ii", 1, 0)
"""SO_LINGER of no time at all: closing sends a reset."""


class Fault(Struct, frozen=True):
    """What the link does to bytes, both ways. The default: nothing.

    `hold`: nothing passes, nothing is closed (half-open). `rate`: bytes per second. `delay_s`: before each piece.
    `cut_after`: the connection is reset after so many bytes. `single`: byte by byte.
    `flips`: the share of pieces with a flipped bit.
    """

    hold: bool = False
    rate: int | None = None
    delay_s: float = 0.0
    cut_after: int | None = None
    single: bool = False
    flips: float = 0.0


NONE = Fault()


class Proxy:
    """One listening port before one server on 127.0.0.1."""

    def __init__(self, upstream: int, *, seed: int = 0) -> None:
        self.upstream = upstream
        self.fault = NONE
        self.passed = 0
        """Bytes that went through."""
        self.connections = 0
        self._random = Random(seed)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._listen, daemon=True).start()

    def reset(self) -> None:
        """Every connection ends with a RST, now."""
        with self._lock:
            broken, self._open = self._open, set()
        for end in broken:
            _break(end)

    def close(self) -> None:
        _break(self._listener)
        self.reset()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.upstream), timeout=5)
            except OSError:
                _break(near)
                continue
            far.settimeout(None)
            self.connections += 1
            with self._lock:
                self._open |= {near, far}
            with suppress(OSError):  # reset while it was being made
                for end in (near, far):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            allowance = [0]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, sink, allowance), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, seen: list[int]) -> None:
        """One direction of one connection; `seen` counts the bytes of both."""
        with suppress(OSError):
            while data := source.recv(CHUNK):
                for piece in self._pieces(data):
                    self._wait(len(piece))
                    fault = self.fault
                    if fault.cut_after is not None and seen[0] + len(piece) > fault.cut_after:
                        sink.sendall(piece[: max(0, fault.cut_after - seen[0])])
                        raise OSError("cut")
                    sink.sendall(self._damaged(piece, fault))
                    seen[0] += len(piece)
                    self.passed += len(piece)
        with self._lock:
            self._open -= {source, sink}
        _break(source)
        _break(sink)

    def _pieces(self, data: bytes) -> list[bytes]:
        if self.fault.single:
            return [data[i : i + 1] for i in range(len(data))]
        if self.fault.rate is not None:
            size = max(1, self.fault.rate // 20)
            return [data[i : i + size] for i in range(0, len(data), size)]
        return [data]

    def _wait(self, size: int) -> None:
        while self.fault.hold:
            time.sleep(0.02)
        if self.fault.delay_s:
            time.sleep(self.fault.delay_s)
        if self.fault.rate is not None:
            time.sleep(size / self.fault.rate)

    def _damaged(self, piece: bytes, fault: Fault) -> bytes:
        if not fault.flips or self._random.random() >= fault.flips:
            return piece
        at, bad = self._random.randrange(len(piece)), bytearray(piece)
        bad[at] ^= 1 << self._random.randrange(8)
        return bytes(bad)


def _break(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
