"""The headers of a request in; who sent it out, as the database knows them this second. Blocking: for the thread pool.

A session's token and an API key say only whose they are; rights come from the database with each look, so that an ended session,
a revoked key, a disabled account and a changed role count at once. What was found is kept for a second at the most.
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from hashlib import sha256
from time import monotonic, time_ns
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import Row, Select, exists, or_, select, update

from hub import problems
from hub.auth.tokens import BadToken, Caller, NetworkRole, Role, Tokens
from hub.database.engine import Database, DatabaseAway
from hub.database.tables import account, api_key, gateway, membership, session
from hub.problems import Problem

KEPT_S = 1.0
"""So long after its end a session or a key may still be taken."""
KEPT = 10_000
_OVER = {
    "token": ("invalid_token", "its session has ended"),
    "key": ("invalid_token", "this API key is unknown, revoked or over; a key has 64 characters of 0-9 and a-f"),
}
KEY = re.compile(r"[0-9a-f]{64}")
HEADER = "x-api-key"
NOTED_MS = 3600 * 1000
"""A key's last use is written down once in this time, not at each request."""


class Scope(StrEnum):
    """What an API key may do. read: GET; ingest: POST /ingest; write: all that its owner may, but for what needs a sign-in."""

    READ = "read"
    WRITE = "write"
    INGEST = "ingest"


class Credential(Struct, frozen=True):
    """What a request brings to show who sent it."""

    kind: Literal["token", "key"]
    text: str

    @property
    def digest(self) -> bytes:
        return sha256(f"{self.kind} {self.text}".encode("utf-8", "surrogatepass")).digest()


class Known(Struct, frozen=True):
    """A caller and the scopes of the key they came with; None for a token, which has no limits of its own."""

    caller: Caller
    scopes: frozenset[Scope] | None = None


class Callers:
    """Who is behind a token or a key. One for the application, on `app.state.callers`."""

    def __init__(self, database: Database, tokens: Tokens, clock: Callable[[], float] = monotonic) -> None:
        self._database = database
        self._tokens = tokens
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[float, Known | None]] = OrderedDict()
        self._lock = threading.Lock()

    def remembered(self, given: Credential) -> Known | None:
        """Whoever a look within the last second found. Never blocks: for the event loop."""
        with self._lock:
            found = self._kept.get(given.digest)
        return found[1] if found is not None and self._clock() - found[0] < KEPT_S else None

    def of(self, given: Credential) -> Known:
        """Who sent it. Raises Problem: 401 for one that is not valid, or no more."""
        with self._lock:
            found = self._kept.get(given.digest)
        begun = self._clock()
        if found is None or begun - found[0] >= KEPT_S:
            # Kept from before the look on: what was committed meanwhile may be missing in it.
            found = (begun, self._session(given.text) if given.kind == "token" else self._holder(given.text))
            self._keep(given.digest, found)
        if found[1] is None:
            raise refused(*_OVER[given.kind])
        return found[1]

    def of_key(self, key: str) -> Known:
        """An API key's holder: a person, or a gateway by a key of its own or by that of its credential file. Raises Problem."""
        return self.of(Credential("key", key))

    def forget(self) -> None:
        """Looks anew for everybody: this process has just ended a session or changed a right."""
        with self._lock:
            self._kept.clear()

    def _keep(self, digest: bytes, found: tuple[float, Known | None]) -> None:
        with self._lock:
            self._kept[digest] = found
            self._kept.move_to_end(digest)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)

    def _session(self, token: str) -> Known | None:
        try:
            told = self._tokens.read(token)
        except BadToken as error:
            raise refused("invalid_token", str(error)) from error
        if told.session is None:
            return Known(told)
        mine = (session.c.id == told.session, session.c.account == told.account)
        live = exists().where(*mine, session.c.ended_ms.is_(None), session.c.expires_ms > _now_ms())
        asked = _person(account.c.id == told.account, live)
        with self._database.read() as connection:
            rows = connection.execute(asked).all()
        return Known(_caller(rows, session=told.session)) if rows else None

    def _holder(self, key: str) -> Known | None:
        if not KEY.fullmatch(key):
            return None
        hashed, now_ms = key_hash(key), _now_ms()
        good = (api_key.c.revoked_ms.is_(None), or_(api_key.c.expires_ms.is_(None), api_key.c.expires_ms > now_ms))
        with self._database.read() as connection:
            found = connection.execute(select(api_key).where(api_key.c.hash == hashed, *good)).one_or_none()
            if found is not None and found.account is not None:
                rows = connection.execute(_person(account.c.id == found.account)).all()
                caller = _caller(rows, key=found.id) if rows else None
            else:
                whose = gateway.c.key_hash == hashed if found is None else gateway.c.id == found.gateway
                owner = connection.execute(select(gateway).where(whose, gateway.c.revoked_ms.is_(None))).one_or_none()
                caller = None if owner is None else _of_gateway(owner, found)
        if caller is None:
            return None
        if found is None:
            return Known(caller, frozenset({Scope.INGEST}))
        self._note(found, now_ms)
        return Known(caller, frozenset(map(Scope, found.scopes.split())))

    def _note(self, found: Row[Any], now_ms: int) -> None:
        if found.used_ms is not None and now_ms - found.used_ms < NOTED_MS:
            return
        try:
            with self._database.write() as connection:
                connection.execute(update(api_key).where(api_key.c.id == found.id).values(used_ms=now_ms))
        except DatabaseAway:
            pass  # the next look notes it; a locked database is no reason to refuse a good key


def key_hash(key: str) -> str:
    """How the database keeps an API key. It is 256 random bits: no salt and no slow hash would add to it."""
    return sha256(key.encode()).hexdigest()


def within_scopes(known: Known, method: str, path: str) -> bool:
    """Whether a key's scopes reach this request. `path` without the API's prefix; a token reaches all that its owner may."""
    if known.scopes is None or Scope.WRITE in known.scopes:
        return True
    if Scope.INGEST in known.scopes and (method, path) == ("POST", "/ingest"):
        return True
    return Scope.READ in known.scopes and method in ("GET", "HEAD")


def brought(headers: Mapping[str, str]) -> Credential | None:
    """What a request's headers bring, None for nobody. Raises Problem for two at once, or for one that is not well written."""
    authorization, key = headers.get("authorization"), headers.get(HEADER)
    if authorization is None:
        return None if key is None else Credential("key", key.strip())
    if key is not None:
        raise refused("invalid_request", "send a token or an API key, not both")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise refused("invalid_request", "write it as: Authorization: Bearer <token>")
    return Credential("token", token.strip())


def refused(error: str, why: str) -> Problem:
    """401, with what RFC 6750 wants said."""
    return Problem(problems.NO_TOKEN, why, headers={"WWW-Authenticate": f'Bearer realm="harmattan", error="{error}"'})


def _person(*whose: Any) -> Select[Any]:
    """An account that may act, with its memberships: a row each, or one with none."""
    columns = (account.c.id, account.c.name, account.c.role, membership.c.network, membership.c.role.label("within"))
    source = account.outerjoin(membership, membership.c.account == account.c.id)
    return select(*columns).select_from(source).where(account.c.disabled_ms.is_(None), *whose)


def _caller(rows: Sequence[Row[Any]], *, session: str | None = None, key: int | None = None) -> Caller:
    first = rows[0]
    role = Role(first.role)
    networks = {row.network: NetworkRole(row.within) for row in rows if row.network is not None}
    return Caller(first.name, role, None if role is Role.ADMIN else networks, account=first.id, session=session, key=key)


def _of_gateway(owner: Row[Any], found: Row[Any] | None) -> Caller:
    return Caller(owner.name, Role.AUTHENTICATED, {}, key=None if found is None else found.id, gateway=owner.id)


def _now_ms() -> int:
    return time_ns() // 1_000_000
