"""Posts of devices on the network in; the newest body of each path out. One HTTP server for all, there while a sensor listens.

Heard are only the networks that the configuration allows, only paths that a sensor waits at, and no body over 64 KiB.
"""

import hmac
import io
import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from weakref import WeakValueDictionary

from adapters.transport.base import Busy, Chunk, LinkFailed, NoPermission, boottime_ns

log = logging.getLogger("adapters.listen")

MAX_BODY = 64 * 1024
POST_S = 10.0
"""A whole post, headers included, takes no longer."""
MOST_AT_ONCE = 16
HERE = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10")
"""Who is heard when nothing else is said: this machine and private networks."""


class Mailbox:
    """Where one sensor's posts wait: the newest, until it is taken."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._news = threading.Condition()
        self._held: Chunk | None = None

    def put(self, chunk: Chunk) -> None:
        with self._news:
            self._held = chunk
            self._news.notify_all()

    def take(self, timeout_s: float) -> Chunk | None:
        with self._news:
            self._news.wait_for(lambda: self._held is not None, timeout_s)
            held, self._held = self._held, None
        return held


class _Deadline(io.RawIOBase):
    """What is read of a post: its one deadline holds for every byte, so that nobody drips a thread away."""

    def __init__(self, link: socket.socket, until_s: float) -> None:
        self._link, self._until_s = link, until_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._link.settimeout(left_s)
        return self._link.recv_into(buffer)


class Door:
    """One host and port. Opened by the first sensor that listens there, closed with the last."""

    def __init__(self, host: str, port: int, allow: Sequence[str] = (), *, post_s: float = POST_S) -> None:
        self.host, self.port, self.post_s = host, port, post_s
        self._allow = [ipaddress.ip_network(network, strict=False) for network in allow or HERE]
        self._boxes: list[Mailbox] = []
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._refused: dict[tuple[str, int], int] = {}

    def open(self, box: Mailbox) -> None:
        """Raises Busy, NoPermission, LinkFailed."""
        with self._lock:
            if self._server is None:
                self._server = self._served()
            self._boxes.append(box)

    def close(self, box: Mailbox) -> None:
        with self._lock:
            self._boxes = [other for other in self._boxes if other is not box]
            server = None
            if not self._boxes:
                server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def _served(self) -> "_Server":
        where = f"{self.host}:{self.port}"
        try:
            server = _Server((self.host, self.port), self)
        except PermissionError as error:
            raise NoPermission("this user may not listen there", what=where, hint="take a port above 1023") from error
        except OSError as error:
            if error.errno == 98:  # EADDRINUSE
                raise Busy("is in use", what=where, hint=f"`ss -ltnp 'sport = :{self.port}'` shows by whom") from error
            raise LinkFailed(
                error.strerror or str(error), what=where, hint="is listen.http an address of this machine?"
            ) from error
        threading.Thread(target=server.serve_forever, args=(0.5,), name=f"listen {where}", daemon=True).start()
        return server

    def allows(self, client: str) -> bool:
        try:
            address = ipaddress.ip_address(client.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._allow)

    def boxes(self, path: str) -> list[Mailbox]:
        """Those that wait at a path, which holds a token: compared in constant time."""
        asked = path.encode("utf-8", "surrogateescape")
        return [box for box in self._boxes if hmac.compare_digest(box.path.encode(), asked)]

    def refused(self, client: str, status: int) -> None:
        """Told at the 1st, 10th, 100th, ... of their kind; never the path, which may hold a token."""
        if len(self._refused) > 1000:
            self._refused.clear()
        count = self._refused[client, status] = self._refused.get((client, status), 0) + 1
        if str(count).strip("0") == "1":
            log.warning("post refused client=%s status=%d total=%d", client, status, count)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(self, address: tuple[str, int], door: Door) -> None:
        self.door = door
        self.slots = threading.BoundedSemaphore(MOST_AT_ONCE)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Post)

    def server_bind(self) -> None:
        """Without the name lookup of http.server, which may hang where there is no DNS."""
        socket.socket.bind(self.socket, self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self.door.allows(client_address[0]):
            self._turned_away(request, client_address[0], 403, b"Forbidden")
        elif not self.slots.acquire(blocking=False):
            self._turned_away(request, client_address[0], 503, b"Service Unavailable")
        else:
            super().process_request(request, client_address)

    def _turned_away(self, request: Any, client: str, status: int, reason: bytes) -> None:
        self.door.refused(client, status)
        try:
            request.settimeout(0.2)
            request.sendall(b"HTTP/1.1 %d %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % (status, reason))
            request.shutdown(socket.SHUT_WR)
            request.recv(4096)  # what was sent already: closing over unread bytes would reset the answer away
        except OSError:
            pass
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.slots.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A device that hangs up is daily life."""


class _Post(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "harmattan", ""
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BufferedReader(_Deadline(self.connection, time.monotonic() + self.server.door.post_s))

    def do_POST(self) -> None:
        boxes = self.server.door.boxes(self.path)
        said = self.headers.get("Content-Length", "")
        if not boxes:
            self._answer(404, "no sensor listens at this path")
        elif not said.isdecimal() or not said.isascii() or self.headers.get("Transfer-Encoding"):
            self._answer(411, "say the length of the body")
        elif len(said) > 9 or int(said) > MAX_BODY:
            self._answer(413, f"at most {MAX_BODY} bytes")
        else:
            self._take(int(said), boxes)

    def _take(self, length: int, boxes: list[Mailbox]) -> None:
        body = self.rfile.read(length)
        if len(body) < length:
            self._answer(400, "the body was cut")
            return
        arrived = Chunk(body, boottime_ns())
        for box in boxes:
            box.put(arrived)
        self._answer(200, "")

    do_PUT = do_POST

    def do_GET(self) -> None:
        self._answer(405, "devices post here")

    def _answer(self, status: int, why: str) -> None:
        self.close_connection = True
        if status != 200:
            self.server.door.refused(self.client_address[0], status)
        body = (why + "\n" if why else "").encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed on every post."""


_shared: WeakValueDictionary[tuple[str, int, tuple[str, ...]], Door] = WeakValueDictionary()


def door_at(host: str, port: int, allow: tuple[str, ...]) -> Door:
    """The one door at this host and port within this program."""
    door = _shared.get((host, port, allow))
    if door is None:
        door = _shared[host, port, allow] = Door(host, port, allow)
    return door
