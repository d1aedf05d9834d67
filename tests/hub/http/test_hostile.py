"""Clients that mean no good, beside others that are served: slow ones by the hundred, a GiB, a million brackets.

The bad ones come from 127.0.0.2: an address has a share of the connections, and they use theirs up.
"""

import os
import selectors
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event

import pytest

from hub.http.deadline import Deadline
from tests.hub.face import Face, open_face, problem

BAD = ("127.0.0.2", 0)
SLACK = 5
FLOOR_S = 0.5
"""A machine that is busy with other tests answers this late without anybody's ill will."""
POST = "POST /api/v1/enrol HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
GIB = 1 << 30


class Patient(Deadline):
    head_s = 60.0


def asked(face: Face, times: int = 25) -> float:
    """The 95th percentile of what others wait for an answer [s]."""
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        assert face.get("/api/v1/stations").status_code == 200
        took.append(time.perf_counter() - begun)
    return statistics.quantiles(took, n=20)[-1]


@contextmanager
def meanwhile(work: Callable[[Event], None]) -> Iterator[None]:
    stop = Event()
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work, stop)
        try:
            yield
        finally:
            stop.set()
        done.result(30)


def served_alike(face: Face, before_s: float) -> None:
    """In one of three rounds: a hub that is held up is late in each, a machine that is busy with other tests only in some."""
    limit_s = max(FLOOR_S, SLACK * before_s)
    assert any(asked(face) < limit_s for _ in range(3)), f"others wait longer than {limit_s:.2f} s"


@pytest.fixture
def face(migrated: Path, tmp_path: Path) -> Iterator[Face]:
    with open_face(migrated, tmp_path, protocol=Patient) as running:
        yield running


@pytest.mark.parametrize(
    "first", ["GET /health HTTP/1.1\r\nX-Slow: ", POST + "Content-Length: 100\r\n\r\n"], ids=["head", "body"]
)
def test_five_hundred_slow_clients_hold_up_nobody(face: Face, first: str) -> None:
    before_s = asked(face)
    with ExitStack() as stack:
        slow = []
        for _ in range(500):
            client = stack.enter_context(socket.socket())
            client.bind(BAD)
            client.connect(face.settings.http_bind)
            with suppress(ConnectionError):
                client.sendall(first.encode())
            slow.append(client)

        def drip(stop: Event) -> None:
            while not stop.wait(1.0):
                for client in slow:
                    with suppress(OSError):
                        client.send(b"a")

        with meanwhile(drip):
            served_alike(face, before_s)
        open_still = sum(_open(client) for client in slow)
    assert open_still == Deadline.most_of_one  # the others were turned away at once


def _open(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def memory_bytes() -> int:
    """What this process, which the hub is a thread of, has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_a_gib_is_refused_after_the_cap_and_costs_no_memory(face: Face, chunked: bool) -> None:
    before_s, before = asked(face), memory_bytes()
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {GIB}"
    block = b"x" * 65_536
    part = b"10000\r\n" + block + b"\r\n" if chunked else block
    sent = 0
    with socket.socket() as client:
        client.bind(BAD)
        client.connect(face.settings.http_bind)
        client.sendall(f"{POST}{length}\r\n\r\n".encode())
        heard = b""
        with meanwhile(lambda _: served_alike(face, before_s)), suppress(ConnectionError):
            client.settimeout(10)
            while sent < GIB:
                readable = selectors.DefaultSelector()
                readable.register(client, selectors.EVENT_READ | selectors.EVENT_WRITE)
                events = readable.select(10)[0][1]
                readable.close()
                if events & selectors.EVENT_READ:
                    if not (said := client.recv(65_536)):
                        break
                    heard += said
                elif events & selectors.EVENT_WRITE:
                    sent += client.send(part)  # a chunk that is cut is only another reason to refuse it
    assert heard.startswith(b"HTTP/1.1 413 ")
    assert b"/problems/content-too-large" in heard
    assert sent < 16 << 20  # the cap, and what sockets hold
    assert memory_bytes() - before < 64 << 20


MILLION = 1_000_000
HURTING = {
    "arrays": b"[" * MILLION,
    "objects": b'{"a":' * (MILLION // 5),
    "closed": b"[" * (MILLION // 2) + b"]" * (MILLION // 2),
    "a number": b'{"token":' + b"9" * MILLION + b"}",
}


@pytest.mark.parametrize("body", HURTING.values(), ids=HURTING)
def test_a_million_brackets_or_digits_are_refused_at_once(face: Face, body: bytes) -> None:
    before_s = asked(face)
    head = {"Content-Type": "application/json"}

    def post(stop: Event) -> None:
        while not stop.wait(0.05):  # this client shares its processor with the hub
            problem(face.http.post("/api/v1/enrol", content=body, headers=head), 422, "invalid-request")

    begun = time.process_time()
    post_once = face.http.post("/api/v1/enrol", content=body, headers=head)
    assert time.process_time() - begun < 0.5
    problem(post_once, 422, "invalid-request")
    with meanwhile(post):
        served_alike(face, before_s)


def test_a_body_for_a_route_that_wants_none_is_not_read(face: Face) -> None:
    before = memory_bytes()
    with socket.create_connection(face.settings.http_bind, timeout=10, source_address=BAD) as client:
        client.sendall(f"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: {GIB}\r\n\r\n".encode())
        heard, sent = b"", 0
        with suppress(ConnectionError, TimeoutError):
            client.settimeout(0.5)
            while sent < 64 << 20:
                sent += client.send(b"x" * 65_536)
        with suppress(ConnectionError, TimeoutError):
            heard = client.recv(65_536)
    assert heard.startswith(b"HTTP/1.1 200 ") or not heard
    assert memory_bytes() - before < 32 << 20
