"""A device's own web server: one GET, one body. No redirects, no more than 1 MiB, and a deadline for the whole of it."""

import io
import socket
import ssl
import time
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from typing import Any
from urllib.parse import urlsplit

from adapters.transport.base import Address, Chunk, Garbage, LinkFailed, Refused, Unanswered, boottime_ns

MAX_BODY = 1 << 20
PIECE = 1 << 16
HEADERS = {"Accept": "application/json", "User-Agent": "harmattan", "Connection": "close"}


class _Raw(io.RawIOBase):
    """The receiving side of a socket, with one deadline for all that is read from it."""

    def __init__(self, link: socket.socket, deadline: float) -> None:
        self._link, self._deadline = link, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._link.settimeout(left_s)
        return self._link.recv_into(buffer)

    def close(self) -> None:
        self._link.close()
        super().close()


class _Timed:
    """A socket as http.client uses it: a timeout per read would let a device that drips bytes hold us for ever."""

    def __init__(self, link: socket.socket, deadline: float) -> None:
        self._link, self._deadline = link, deadline
        self._read = False

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        self._read = True
        return io.BufferedReader(_Raw(self._link, self._deadline))

    def sendall(self, data: bytes) -> None:
        self._link.settimeout(max(0.001, self._deadline - time.monotonic()))
        self._link.sendall(data)

    def close(self) -> None:
        """http.client closes its socket before it has read the body; the reading side then closes it at its own end."""
        if not self._read:
            self._link.close()


def get(address: Address, deadline_s: float) -> Chunk:
    """The body of a 200. Raises Refused, Unanswered, LinkFailed, Garbage."""
    deadline = time.monotonic() + deadline_s
    where = f"{address.host}:{address.port}"
    kind = HTTPSConnection if address.kind == "https" else HTTPConnection
    connection = kind(address.host, address.port, timeout=max(0.001, deadline_s))
    opened = ExitStack()
    opened.callback(connection.close)
    try:
        connection.connect()
        link = connection.sock
        connection.sock = _Timed(link, deadline)  # it has all that http.client asks of it
        split = urlsplit(address.url)
        target = (split.path or "/") + (f"?{split.query}" if split.query else "")
        connection.request(
            "GET", target, headers={"Accept": "application/json", "User-Agent": "harmattan", "Connection": "close"}
        )
        answer = connection.getresponse()
        opened.callback(answer.close)
        if answer.status != 200:
            raise _refusal(address, answer.status, answer.reason, answer.getheader("Location"))
        if (answer.length or 0) > MAX_BODY:
            raise _too_large(where)
        body = bytearray()
        while piece := answer.read1(PIECE):
            body += piece
            if len(body) > MAX_BODY:
                raise _too_large(where)
        if answer.length:
            raise Garbage(f"the connection was cut {answer.length} bytes before its end", what=where, code="truncated")
        return Chunk(bytes(body), boottime_ns())
    except TimeoutError:
        raise Unanswered(f"did not finish an answer in {deadline_s:.3g} s", what=where, hint="is the device on?") from None
    except IncompleteRead as error:
        raise Garbage(f"cut after {len(error.partial)} bytes", what=where, code="truncated") from error
    except (HTTPException, ValueError) as error:
        raise Garbage(f"no HTTP answer: {error or type(error).__name__}", what=where, code="bad_header") from error
    except OSError as error:
        raise _failure(error, address, where) from error
    finally:
        opened.close()


def _failure(error: OSError, address: Address, where: str) -> Refused | LinkFailed:
    if isinstance(error, ConnectionRefusedError):
        return Refused("nobody listens there", what=where, hint="is the port right, and the device's local API switched on?")
    if isinstance(error, socket.gaierror):
        return LinkFailed(f"the name {address.host} cannot be resolved", what=where, hint="write its IP address, or mend the DNS")
    if isinstance(error, ssl.SSLError):
        return LinkFailed(f"no trusted TLS: {getattr(error, 'verify_message', '') or error.reason}", what=where)
    return LinkFailed(error.strerror or str(error), what=where)


def _refusal(address: Address, status: int, reason: str, location: str | None) -> Refused:
    said = f"answers {status} {reason}"[:80]
    if 300 <= status < 400:
        hint = f"write the final address in `at:`{f', it says {location!r}'[:200] if location else ''}"
        return Refused(f"{said}: a redirect, which is not followed", what=address.url, hint=hint)
    return Refused(said, what=address.url, hint="look at the path in `at:`" if status < 500 else "restart the device")


def _too_large(where: str) -> Garbage:
    return Garbage(f"a body over {MAX_BODY} bytes", what=where, code="too_large", hint="is this the sensor's own address?")
