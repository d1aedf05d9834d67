"""A request in; the same request with an id, a deadline and a cap; its answer with security headers, counted and logged.

The outermost layer: what nobody caught becomes a problem here, and its trace a line in the log.
"""

import asyncio
import logging
import re
import secrets
from collections import Counter, defaultdict
from time import perf_counter
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub import problems
from hub.problems import MEDIA_TYPE, Problem

log = logging.getLogger("hub.http")
BODY_BYTES = 1 << 20
BODY_S = 30.0
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
QUIET = frozenset({"/health", "/ready", "/metrics"})
CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Traffic:
    """Requests answered, by method, route and status; seconds spent, by route. For /metrics."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        self.requests[method, route, status] += 1
        self.seconds[route] += seconds


class Frame:
    """The outermost ASGI layer."""

    def __init__(self, app: ASGIApp, traffic: Traffic, *, body_s: float = BODY_S) -> None:
        self.app = app
        self.traffic = traffic
        self.body_s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, self.body_s)
        try:
            await self.app(exchange.scope, exchange.receive, exchange.send)
        except Problem as problem:
            await exchange.refuse(problem)
        except asyncio.CancelledError:
            raise
        except Exception:  # the outermost loop of a request: an answer must go out, the trace into the log
            log.exception("request failed id=%s path=%s", exchange.id, exchange.path)
            await exchange.refuse(Problem(problems.INTERNAL))
        finally:
            exchange.close(self.traffic)


class Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, body_s: float) -> None:
        self.id = _id(scope)
        self.path = scope["path"]
        self.status = 0
        self._method = scope["method"]
        self._begun = perf_counter()
        self._receive = receive
        self._send = send
        self._bytes = 0
        self._whole = False
        self._body_s = body_s
        self._refused: Problem | None = None
        # uvicorn leaves out a HEAD's body by itself, so GET may answer it.
        method = "GET" if self._method == "HEAD" else self._method
        self.scope = {**scope, "method": method, "state": {**scope.get("state", {}), "request_id": self.id}}

    async def receive(self) -> Message:
        """Raises Problem for a body that is too slow or too large."""
        if self._whole:
            return await self._receive()
        left = self._begun + self._body_s - perf_counter()
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.0))
        except TimeoutError as error:
            raise self._refusal(Problem(problems.TOO_SLOW, headers={"Connection": "close"})) from error
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._bytes > BODY_BYTES:
                said = f"a body has at most {BODY_BYTES} bytes"
                raise self._refusal(Problem(problems.TOO_LARGE, said, headers={"Connection": "close"}))
        return message

    def _refusal(self, problem: Problem) -> Problem:
        self._refused = problem
        return problem

    async def send(self, message: Message) -> None:
        if self._refused is not None:
            await self.refuse(self._refused)  # instead of what the framework makes of a body that did not come
            return
        if message["type"] == "http.response.start":
            await self._start(message)
        else:
            await self._send(message)

    async def _start(self, message: Message) -> None:
        self.status = message["status"]
        headers = MutableHeaders(scope=message)
        headers["X-Request-ID"] = self.id
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        await self._send(message)

    async def refuse(self, problem: Problem) -> None:
        """Answers with a problem, unless an answer has begun; then the connection just ends."""
        if self.status:
            return
        self.status = problem.kind.status
        body = problem.body(self.id)
        headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **problem.headers}
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        await self._start({"type": "http.response.start", "status": problem.kind.status, "headers": raw})
        await self._send({"type": "http.response.body", "body": body})

    def close(self, traffic: Traffic) -> None:
        seconds = perf_counter() - self._begun
        route: Any = self.scope.get("route")
        traffic.count(self._method, getattr(route, "path", "unknown"), self.status, seconds)
        level = logging.DEBUG if self.path in QUIET else logging.INFO
        path = self.scope["raw_path"].decode("ascii", "replace") if self.scope.get("raw_path") else self.path
        log.log(
            level, "request method=%s path=%s status=%d ms=%.1f id=%s", self._method, path, self.status, seconds * 1e3, self.id
        )


def _id(scope: Scope) -> str:
    """The asker's X-Request-ID when it is one that a log line can bear, else a new one."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return given.decode() if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
