"""A POST with an Idempotency-Key in; the answer that its first try got, or the word that this is the first, out.

draft-ietf-httpapi-idempotency-key-header. A key belongs to its caller, or to the address of one who has no name. A first try
leaves a row without an answer; what is answered with success is put into it before it is sent, any other end takes the row away,
so that who was refused can mend the request and keep the key. A row whose try died with the process is free again after RUN_S.
"""

import logging
import threading
from hashlib import sha256
from time import monotonic, time_ns
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from hub import problems
from hub.database.engine import Database
from hub.database.tables import idempotency as table
from hub.problems import Problem

log = logging.getLogger("hub.http")
KEPT_MS = 24 * 3600 * 1000
RUN_MS = 60_000
"""No request of ours runs so long."""
CLEAN_S = 60.0
MOST_BYTES = 1 << 20
"""A longer answer is not kept; its key is free again."""
DROPPED = frozenset({b"content-length", b"x-request-id", b"ratelimit", b"ratelimit-policy", b"date", b"connection"})


class Answer(Struct, frozen=True):
    """What was answered."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Try(Struct, frozen=True):
    """A first try that is under way."""

    owner: str
    key: str
    made_ms: int


class Store:
    """The table `idempotency`. Blocking: for the thread pool."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cleaned = float("-inf")
        self._lock = threading.Lock()

    def begin(self, owner: str, key: str, request: bytes) -> Try | Answer:
        """Raises Problem: 422 for a key that was used for something else, 409 while its first try is under way."""
        now_ms = time_ns() // 1_000_000
        mine = (table.c.owner == owner, table.c.key == key)
        hashed = sha256(request).hexdigest()
        self._clean(now_ms)
        try:
            with self._database.write() as connection:
                found = connection.execute(select(table).where(*mine)).one_or_none()
                if found is not None and found.made_ms > now_ms - (KEPT_MS if found.status is not None else RUN_MS):
                    return _again(found, hashed)
                if found is not None:  # that very row: another process may have put its own there since
                    connection.execute(delete(table).where(*mine, table.c.made_ms == found.made_ms))
                connection.execute(insert(table).values(owner=owner, key=key, made_ms=now_ms, request=hashed))
        except IntegrityError as error:
            raise _under_way() from error  # PostgreSQL: another process was that much faster
        return Try(owner, key, now_ms)

    def keep(self, first: Try, answer: Answer) -> None:
        """Puts the answer into the row of its try."""
        headers = msgspec.json.encode(answer.headers).decode()
        told = {"status": answer.status, "headers": headers, "body": answer.body}
        with self._database.write() as connection:
            connection.execute(update(table).where(*_of(first)).values(**told))

    def forget(self, first: Try) -> None:
        """Frees the key."""
        with self._database.write() as connection:
            connection.execute(delete(table).where(*_of(first), table.c.status.is_(None)))

    def _clean(self, now_ms: int) -> None:
        with self._lock:
            if monotonic() - self._cleaned < CLEAN_S:
                return
            self._cleaned = monotonic()
        with self._database.write() as connection:
            connection.execute(delete(table).where(table.c.made_ms <= now_ms - KEPT_MS))


def _of(first: Try) -> tuple[Any, ...]:
    return table.c.owner == first.owner, table.c.key == first.key, table.c.made_ms == first.made_ms


def _again(found: Row[Any], hashed: str) -> Answer:
    if found.request != hashed:
        raise Problem(problems.KEY_REUSED)
    if found.status is None:
        raise _under_way()
    headers = msgspec.json.decode(found.headers, type=list[tuple[str, str]])
    return Answer(found.status, headers, bytes(found.body))


def _under_way() -> Problem:
    return Problem(problems.KEY_RUNNING, headers={"Retry-After": "2"})
