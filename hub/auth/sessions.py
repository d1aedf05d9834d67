"""A sign-in in; a session and its refresh token out; that token in, its successor out, once. And the end of it.

A refresh token is 256 random bits, kept as its hash. Its successor is derived from it, so that a browser which asks twice at once
(two tabs, a lost answer) gets the very same one. A token that comes back later than that was copied: its session ends.
"""

import hmac
import secrets
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Row, delete, insert, select, update

from hub.answers import rfc3339
from hub.auth.secrets import kept
from hub.database.tables import account, refresh, session

DAY_MS = 86_400_000
IDLE_MS = 14 * DAY_MS
LIFE_MS = 90 * DAY_MS
TWICE_MS = 10_000
"""So long after its first use a refresh token gets the same answer again."""


class Whence(Struct, frozen=True):
    """Where a request came from, as sessions and the audit log keep it."""

    address: str | None
    agent: str | None


class Granted(Struct, frozen=True):
    """A session just opened or renewed. `refresh` is told to its owner and kept nowhere."""

    session: str
    account: int
    refresh: str
    expires_ms: int


class Reused(Struct, frozen=True):
    """A refresh token came back: its session was ended."""

    session: str
    account: int


class Session(Struct, frozen=True):
    """A sign-in of an account, as its owner sees it. `current`: the one that asks."""

    id: str
    created: str
    seen: str
    expires: str
    address: str | None
    agent: str | None
    current: bool


class Sessions:
    """Opens and renews. `secret` derives a refresh token's successor."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def open_kept(cls, data_dir: Path) -> "Sessions":
        """With the secret in DATA_DIR, made when there is none. Raises Stop."""
        return cls(kept(data_dir / "keys" / "refresh-secret", lambda: secrets.token_bytes(32)))

    def open(self, connection: Connection, owner: int, whence: Whence, now_ms: int) -> Granted:
        made = Granted(secrets.token_hex(16), owner, secrets.token_urlsafe(32), now_ms + IDLE_MS)
        times = {"created_ms": now_ms, "seen_ms": now_ms, "expires_ms": made.expires_ms}
        connection.execute(
            insert(session).values(id=made.session, account=owner, address=whence.address, agent=whence.agent, **times)
        )
        connection.execute(insert(refresh).values(hash=hashed(made.refresh), session=made.session, made_ms=now_ms))
        return made

    def renew(self, connection: Connection, token: str, whence: Whence, now_ms: int) -> Granted | Reused | None:
        """The session of a refresh token with its next token; None for one that is unknown or over."""
        unused = (refresh.c.hash == hashed(token), refresh.c.used_ms.is_(None))
        first = connection.execute(update(refresh).where(*unused).values(used_ms=now_ms)).rowcount == 1
        found = _standing(connection, token)
        if found is None or found.ended_ms is not None or found.expires_ms <= now_ms or found.disabled_ms is not None:
            return None
        if not first and now_ms - found.used_ms > TWICE_MS:
            end(connection, session.c.id == found.id, why="refresh reused", now_ms=now_ms)
            return Reused(found.id, found.account)
        expires_ms = min(found.created_ms + LIFE_MS, now_ms + IDLE_MS)
        made = Granted(found.id, found.account, self._successor(token), expires_ms)
        if first:
            connection.execute(insert(refresh).values(hash=hashed(made.refresh), session=found.id, made_ms=now_ms))
            seen = {"seen_ms": now_ms, "expires_ms": expires_ms, "address": whence.address, "agent": whence.agent}
            connection.execute(update(session).where(session.c.id == found.id).values(seen))
        return made

    def _successor(self, token: str) -> str:
        made = hmac.digest(self._secret, b"refresh\0" + token.encode("utf-8", "surrogatepass"), "sha256")
        return urlsafe_b64encode(made).decode().rstrip("=")


def session_of(connection: Connection, token: str) -> str | None:
    """The session that a refresh token belongs to, whether or not it is still good."""
    found = _standing(connection, token)
    return None if found is None else str(found.id)


def end(connection: Connection, *which: Any, why: str, now_ms: int) -> int:
    """Ends those sessions that are not over yet; their tokens stop within a second. Returns how many."""
    ended = update(session).where(session.c.ended_ms.is_(None), *which).values(ended_ms=now_ms, ended_why=why)
    return connection.execute(ended).rowcount


def sessions(connection: Connection, owner: int, current: str, now_ms: int) -> list[Session]:
    """Those of an account that are not over, the newest first."""
    live = (session.c.account == owner, session.c.ended_ms.is_(None), session.c.expires_ms > now_ms)
    rows = connection.execute(select(session).where(*live).order_by(session.c.seen_ms.desc(), session.c.id)).all()
    return [
        Session(
            row.id,
            rfc3339(row.created_ms),
            rfc3339(row.seen_ms),
            rfc3339(row.expires_ms),
            row.address,
            row.agent,
            row.id == current,
        )
        for row in rows
    ]


def known_address(connection: Connection, owner: int, address: str | None, now_ms: int) -> bool:
    """Whether the account signed in from there within a session's longest life."""
    asked = (session.c.account == owner, session.c.address == address, session.c.seen_ms > now_ms - LIFE_MS)
    return connection.execute(select(session.c.id).where(*asked).limit(1)).first() is not None


def remove_over(connection: Connection, before_ms: int) -> int:
    """Sessions that were over before a time, with their refresh tokens, and tokens used before it. Returns how many sessions."""
    over = select(session.c.id).where((session.c.ended_ms < before_ms) | (session.c.expires_ms < before_ms))
    connection.execute(delete(refresh).where(refresh.c.session.in_(over) | (refresh.c.used_ms < before_ms)))
    return connection.execute(delete(session).where(session.c.id.in_(over))).rowcount


def hashed(token: str) -> str:
    """How the database keeps a token of 256 random bits."""
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _standing(connection: Connection, token: str) -> Row[Any] | None:
    asked = select(session, refresh.c.used_ms, account.c.disabled_ms).join(refresh, refresh.c.session == session.c.id)
    asked = asked.join(account, account.c.id == session.c.account).where(refresh.c.hash == hashed(token))
    return connection.execute(asked).one_or_none()
