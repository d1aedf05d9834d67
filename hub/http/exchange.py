"""A request in; the same with an id, its client, deadlines and a cap; its answer with security headers, counted and logged."""

import asyncio
import logging
import re
import secrets
from contextlib import suppress
from time import perf_counter
from typing import Any

from msgspec import Struct
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from hub import problems
from hub.auth.guard import caller_of
from hub.database.engine import DatabaseAway
from hub.http.client import Client, Proxies
from hub.http.cors import Cors
from hub.http.depth import DEEPEST, too_deep
from hub.http.gate import STREAM, Gate
from hub.http.headers import Fields
from hub.http.idempotency import DROPPED, MOST_BYTES, Answer, Store, Try
from hub.http.traffic import Traffic
from hub.problems import MEDIA_TYPE, Problem, invalid
from hub.terms import terms_of

log = logging.getLogger("hub.http")
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
KEY = re.compile(rb'"?([\x21\x23-\x7e]{1,255})"?')
"""An Idempotency-Key; the draft writes it in quotes, most clients do not."""
QUIET = frozenset({"/health", "/ready", "/metrics", "/{path:path}", "/plain.css"})
API = "/api/"
CREDENTIALS = (b"authorization", b"x-api-key")
TOLD = frozenset(
    {*CREDENTIALS, b"x-request-id", b"origin", b"idempotency-key", b"content-length", b"transfer-encoding", b"accept-encoding"}
)
"""The fields of a request's head that are looked at here."""
SECRET = (b"cache-control", b"no-store")
VARIES, VARIES_API = (b"vary", b"Accept-Encoding"), (b"vary", b"Accept-Encoding, Authorization, X-API-Key")


class Deadlines(Struct, frozen=True):
    """Seconds from a request's head: until its body has arrived, and until its answer begins.

    The second is shorter than what proxies wait (nginx: 60 s), so that what the client sees is ours.
    """

    body_s: float = 30.0
    answer_s: float = 45.0


class Rules(Struct, frozen=True):
    """What is the same for every request. `gate`: None lets all pass; `store`: None keeps no answers for Idempotency-Keys."""

    traffic: Traffic
    deadlines: Deadlines = Deadlines()
    proxies: Proxies = Proxies(())
    gate: Gate | None = None
    cors: Cors = Cors(())
    store: Store | None = None
    secure: bool = False
    access_log: bool = True


class Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, rules: Rules, fields: Fields) -> None:
        self._begun = perf_counter()
        self._rules = rules
        self._receive = receive
        self._send = send
        self._told = told = {name: value for name, value in scope["headers"] if name in TOLD}
        given = told.get(b"x-request-id", b"")
        self.id = given.decode() if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        self.status = 0
        self._method: str = scope["method"]
        self._path: str = scope["path"]
        self._client = client = _client(scope, rules.proxies)
        self._fields = [*fields, (b"x-request-id", self.id.encode())]
        self._named = any(name in told for name in CREDENTIALS)
        self._came = 0
        self._went = 0
        self._parts: list[bytes] = []
        # Without either field there is no body (RFC 9112, 6.3), so nothing has to be waited for.
        self._whole = b"content-length" not in told and b"transfer-encoding" not in told
        self._instead: Problem | Answer | None = None
        self._first: Try | None = None
        self._start_held: Message | None = None
        self._streams = False
        self._late: asyncio.Task[None] | None = None
        self.scope: Scope = {
            **scope,
            # uvicorn leaves out a HEAD's body by itself, so GET may answer it.
            "method": "GET" if self._method == "HEAD" else self._method,
            "client": (client.address, scope["client"][1] if scope.get("client") else 0),
            "state": {**scope.get("state", {}), "request_id": self.id},
            "harmattan.address": client.counted,
        }
        if client.secure is not None:
            self.scope["scheme"] = "https" if client.secure else "http"

    @property
    def route(self) -> str:
        """The template, never the path: a key or a token may stand in that."""
        route: Any = self.scope.get("route")
        return str(getattr(route, "template", "unknown"))

    @property
    def packs(self) -> bool:
        """Whether its answer may go out compressed. One that is kept for a key must be readable for everybody."""
        return b"gzip" in self._told.get(b"accept-encoding", b"") and b"idempotency-key" not in self._told

    async def admitted(self) -> bool:
        """Whether it may go on; else it has been answered."""
        rules, path = self._rules, self._path
        api = path.startswith(API)
        self._fields.append(VARIES_API if api else VARIES)
        if api:
            origin = self._told.get(b"origin")
            if origin is not None and self._method == "OPTIONS" and rules.cors.any:
                self._fields += rules.cors.preflight(path, origin)
                await self._answer(Answer(204, [], b""))
                return False
            self._fields += rules.cors.fields(path, origin)
        gate = rules.gate
        if gate is not None and gate.counts(path):
            credential = next((self._told[name] for name in CREDENTIALS if name in self._told), None)
            fields, refused = gate.take(self._client.counted, credential)
            self._fields += fields
            if refused is not None:
                raise refused
            if path == STREAM:
                gate.enter(self._client.counted)
                self._streams = True
        return True

    async def receive(self) -> Message:
        """Raises Problem for a body that is too slow, too large or too deep."""
        if self._whole:
            return await self._receive()
        most = terms_of(self.scope.get("route")).body_bytes
        if _number(self._told.get(b"content-length")) > most:
            raise self._refusal(_too_large(most))
        left = self._begun + self._rules.deadlines.body_s - perf_counter()
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.0))
        except TimeoutError as error:
            raise self._refusal(Problem(problems.TOO_SLOW, headers={"Connection": "close"})) from error
        if message["type"] == "http.request":
            part = message.get("body", b"")
            self._came += len(part)
            self._whole = not message.get("more_body", False)
            if self._came > most:
                raise self._refusal(_too_large(most))
            self._parts.append(part)
            if self._whole:
                await self._arrived(b"".join(self._parts))
                self._parts.clear()
        return message

    async def _arrived(self, body: bytes) -> None:
        """The whole body is here; it is looked at before any parser sees it."""
        if too_deep(body):
            raise self._refusal(invalid("body", f"JSON nests at most {DEEPEST} deep and closes what it opens", where="body"))
        key = self._told.get(b"idempotency-key")
        store = self._rules.store
        if key is None or store is None or self._method != "POST" or not terms_of(self.scope.get("route")).idempotent:
            return
        found = KEY.fullmatch(key)
        if found is None:
            raise self._refusal(invalid("Idempotency-Key", "it is 1 to 255 visible characters", where="header"))
        try:
            owner = await self._owner()
        except Problem:
            return  # the route refuses the credential by itself
        request = b"\0".join((self._method.encode(), self._path.encode(), self.scope["query_string"], body))
        try:
            begun = await run_in_threadpool(store.begin, owner, found[1].decode(), request)
        except Problem as problem:
            raise self._refusal(problem) from problem
        except DatabaseAway as away:
            raise self._refusal(Problem(problems.UNAVAILABLE, str(away), headers={"Retry-After": "2"})) from away
        if isinstance(begun, Answer):
            self._instead = begun
            raise Problem(problems.KEY_RUNNING)  # ends the route; what goes out is the kept answer
        self._first = begun

    async def _owner(self) -> str:
        caller = await caller_of(Request(self.scope))
        if caller is None:
            return f"address {self._client.counted}"
        if caller.account is not None:
            return f"account {caller.account}"
        return f"gateway {caller.gateway}" if caller.gateway is not None else f"name {caller.name}"

    def _refusal(self, problem: Problem) -> Problem:
        self._instead = problem
        return problem

    def late(self) -> None:
        """No answer has begun in time: the client is told so, and the connection ends.

        What the route does it does to its end: a thread cannot be stopped. What that would have answered is kept for the key.
        """
        if not self.status:
            said = f"no answer within {self._rules.deadlines.answer_s:g} s; what was asked for may still be done"
            told = self._told_of(Problem(problems.UNAVAILABLE, said, headers={"Retry-After": "10", "Connection": "close"}))
            self.status, self._went = told.status, len(told.body)
            self._late = asyncio.ensure_future(self._tell(told))

    async def send(self, message: Message) -> None:
        if self._instead is not None:  # goes out in place of what the framework makes of a body that did not come
            if not self.status:
                instead = self._instead
                await (self.refuse(instead) if isinstance(instead, Problem) else self._replayed(instead))
        elif message["type"] == "http.response.start":
            if self._first is not None:
                self._start_held = message  # until its body is kept
            else:
                await self._start(message)
        elif self._start_held is not None:
            await self._keep(message)
        else:
            await self._body(message)

    async def _start(self, message: Message) -> None:
        if self._late is None:
            self.status = message["status"]
            await self._send(self._head(self.status, message["headers"]))

    async def _body(self, message: Message) -> None:
        if self._late is None:
            self._went += len(message.get("body", b""))
            await self._send(message)

    def _head(self, status: int, headers: Fields) -> Message:
        if self._path.startswith(API) and (self._named or status >= 400):
            # What was meant for one caller stays with them; a refusal is about this moment.
            headers = [field for field in headers if field[0] != b"cache-control"]
            headers.append(SECRET)
        return {"type": "http.response.start", "status": status, "headers": [*headers, *self._fields]}

    async def _keep(self, message: Message) -> None:
        """Gathers the answer of a first try; when it is whole it is kept, then sent."""
        self._parts.append(message.get("body", b""))
        if message.get("more_body", False):
            return
        body, start, first, store = b"".join(self._parts), self._start_held, self._first, self._rules.store
        assert start is not None and first is not None and store is not None  # noqa: S101, PT018  # as receive left them
        self._start_held = None
        if 200 <= start["status"] < 300 and len(body) <= MOST_BYTES:
            told = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"] if name not in DROPPED]
            try:
                await run_in_threadpool(store.keep, first, Answer(start["status"], told, body))
                self._first = None
            except DatabaseAway as error:
                log.warning("answer not kept id=%s why=%r", self.id, error.why)
        await self._start(start)
        await self._body({"type": "http.response.body", "body": body})

    async def _replayed(self, kept: Answer) -> None:
        await self._answer(Answer(kept.status, [*kept.headers, ("idempotent-replayed", "true")], kept.body))

    async def refuse(self, problem: Problem) -> None:
        """Answers with a problem, unless an answer has begun; then the connection just ends."""
        if not self.status:
            await self._answer(self._told_of(problem))

    def _told_of(self, problem: Problem) -> Answer:
        headers = {"content-type": MEDIA_TYPE, **problem.headers}
        return Answer(problem.kind.status, list(headers.items()), problem.body(self.id))

    async def _answer(self, answer: Answer) -> None:
        """Before any other; what the route sends after it goes nowhere."""
        self.status, self._went = answer.status, len(answer.body)
        await self._tell(answer)

    async def _tell(self, answer: Answer) -> None:
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers]
        if answer.status != 204:
            raw.append((b"content-length", b"%d" % len(answer.body)))
        await self._send(self._head(answer.status, raw))
        await self._send({"type": "http.response.body", "body": answer.body})

    async def close(self) -> None:
        if self._late is not None:
            await self._late  # a route that ended just then: its server would see no answer
        rules = self._rules
        if self._streams and rules.gate is not None:
            rules.gate.leave(self._client.counted)
        if self._first is not None and rules.store is not None:
            with suppress(DatabaseAway):  # the key is free again a minute after its first try
                await asyncio.shield(run_in_threadpool(rules.store.forget, self._first))
        seconds = perf_counter() - self._begun
        route = self.route
        rules.traffic.count(self._method, route, self.status, seconds)
        if not rules.access_log:
            return
        level = logging.DEBUG if route in QUIET and self.status < 400 else logging.INFO
        if log.isEnabledFor(level):
            told = (self.id, self._method, route, self.status, seconds * 1e3, self._went, self._client.address, self._caller())
            log.log(level, "request id=%s method=%s route=%s status=%d ms=%.1f bytes=%d client=%s caller=%s", *told)

    def _caller(self) -> str:
        """The kind of caller: never who it is, nor what they brought."""
        if not self._named:
            return "anybody"
        caller = self.scope.get("harmattan.caller")
        if caller is None:
            return "refused"
        if caller.gateway is not None:
            return "gateway"
        return "key" if caller.key is not None else "account" if caller.account is not None else "token"


def _client(scope: Scope, proxies: Proxies) -> Client:
    peer = scope["client"][0] if scope.get("client") else "unknown"
    return proxies.client(peer, scope["headers"])


def _too_large(most: int) -> Problem:
    return Problem(problems.TOO_LARGE, f"a body has at most {most} bytes", headers={"Connection": "close"})


def _number(text: bytes | None) -> int:
    """A Content-Length; uvicorn has refused what is none."""
    return int(text) if text is not None and text.isdigit() and len(text) < 20 else 1 << 63 if text else 0
