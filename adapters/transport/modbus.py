"""Modbus TCP: a request out, the words of its answer in. One connection per host and port, shared by all units behind it."""

import socket
import time
from collections import Counter
from struct import pack
from weakref import WeakValueDictionary

from adapters.decode.modbus import Answers, Block, Expected, Request
from adapters.decode.reading import Fault
from adapters.profile import Command
from adapters.transport.base import LinkFailed, Refused, Unanswered
from readings.errors import Retry

LEAST_S = 0.05
SILENT_HINT = "is the unit number right, and the device behind it on?"


class Connection:
    """Made by the first request that needs it; one without an answer ends it, so that a half-open link is not kept."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._where = f"{host}:{port}"
        self._link: socket.socket | None = None
        self._users = 0
        self._transaction = 0

    def open(self) -> None:
        """Does not connect yet: `ask` does, and again after a failure."""
        self._users += 1

    def close(self) -> None:
        self._users = max(0, self._users - 1)
        if self._users == 0:
            self._drop()

    def ask(self, unit: int, request: Request, timeout_s: float, counted: Counter[str]) -> tuple[Block | Fault, bytes]:
        """The words (or why there are none) and the bytes that came. Raises Unanswered, Refused, LinkFailed."""
        deadline = time.monotonic() + max(LEAST_S, timeout_s)
        self._connect(deadline)
        self._transaction = self._transaction % 0xFFFF + 1
        expected = Expected(unit, request.function, request.count, request.address, self._transaction)
        answers, raw, last = Answers(expected), b"", None
        self._send(unit, request.pdu)
        while (piece := self._piece(deadline)) is not None:
            raw += piece
            for last in answers.feed(piece):
                if isinstance(last, Block) or last.code.startswith("modbus_exception"):
                    return last, raw
                if last.code == "bad_header":  # no Modbus at all: there is nothing to wait for
                    self._drop()
                    return last, raw
                counted[last.code] += 1
        self._drop()
        for fault in answers.finish():
            return fault, raw
        if last is not None and not isinstance(last, Block):
            counted[last.code] -= 1  # the caller counts what it is given
            return last, raw
        raise Unanswered(f"unit {unit} does not answer in {timeout_s:.3g} s", what=self._where, hint=SILENT_HINT)

    def tell(self, unit: int, command: Command) -> None:
        """Sends a command's request; what its profile expects must be in the answer. Raises Unanswered, Refused, LinkFailed."""
        deadline = time.monotonic() + command.timeout_s
        self._connect(deadline)
        self._transaction = self._transaction % 0xFFFF + 1
        self._send(unit, command.data)
        wanted, refused = bytes((unit,)) + command.answer, bytes((unit, command.data[0] | 0x80))
        raw = b""
        while wanted not in raw[6:] and (piece := self._piece(deadline)) is not None:
            raw += piece
            if refused in raw[6:]:
                raise Refused("refuses a command", what=f"{self._where}, unit {unit}", hint="look at `open` in its profile")
        if command.answer and wanted not in raw[6:]:
            self._drop()
            raise Unanswered("does not obey a command", what=f"{self._where}, unit {unit}", hint=SILENT_HINT)
        if command.pause_s:
            time.sleep(command.pause_s)

    def _send(self, unit: int, pdu: bytes) -> None:
        assert self._link is not None  # noqa: S101  # connected just before
        try:
            self._link.sendall(pack(">HHHB", self._transaction, 0, 1 + len(pdu), unit) + pdu)
        except OSError as error:
            raise self._cut() from error

    def _piece(self, deadline: float) -> bytes | None:
        """What comes next; None when the time is over. Raises LinkFailed."""
        link, left_s = self._link, deadline - time.monotonic()
        if link is None or left_s <= 0:
            return None
        try:
            link.settimeout(left_s)
            piece = link.recv(1024)
        except TimeoutError:
            return None
        except OSError as error:
            raise self._cut() from error
        if not piece:
            raise self._cut()
        return piece

    def _connect(self, deadline: float) -> None:
        if self._link is not None:
            return
        try:
            self._link = socket.create_connection((self.host, self.port), max(LEAST_S, deadline - time.monotonic()))
            self._link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise self._unreached(error) from error

    def _unreached(self, error: OSError) -> Retry:
        if isinstance(error, TimeoutError):
            return Unanswered("cannot be reached", what=self._where, hint="is it on, and its address right?")
        if isinstance(error, socket.gaierror):
            hint = "write its IP address, or mend the DNS"
            return LinkFailed(f"the name {self.host} cannot be resolved", what=self._where, hint=hint)
        return Refused("takes no connection", what=self._where, hint="is its address right, and Modbus TCP switched on?")

    def _cut(self) -> LinkFailed:
        self._drop()
        return LinkFailed("the connection was cut", what=self._where, hint="does another client use its only connection?")

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()


_shared: WeakValueDictionary[tuple[str, int], Connection] = WeakValueDictionary()


def connection_to(host: str, port: int) -> Connection:
    """The one connection to this host and port within this program."""
    connection = _shared.get((host, port))
    if connection is None:
        connection = _shared[host, port] = Connection(host, port)
    return connection
