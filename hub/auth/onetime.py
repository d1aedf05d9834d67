"""A purpose and a person in; a token for one use out; the token in, once, the person out. The database keeps hashes."""

import secrets
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from hub import problems
from hub.auth.sessions import hashed
from hub.database.tables import one_time
from hub.problems import Problem

HOUR_MS = 3600 * 1000


class Purpose(StrEnum):
    """What a token is good for. reset came by mail, so that it shows whose the address is; handed is an admin's link."""

    RESET = "reset"
    HANDED = "handed"
    VERIFY = "verify"
    SETUP = "setup"


LIVES_MS = {Purpose.RESET: HOUR_MS, Purpose.HANDED: 48 * HOUR_MS, Purpose.VERIFY: 48 * HOUR_MS}


def give(connection: Connection, purpose: Purpose, account: int, email: str, now_ms: int, life_ms: int | None = None) -> str:
    """A new token; earlier ones of this account for the same purpose stop to work."""
    void(connection, account, purpose)
    token = secrets.token_urlsafe(32)
    expires_ms = now_ms + (LIVES_MS[purpose] if life_ms is None else life_ms)
    values = {"hash": hashed(token), "kind": purpose.value, "account": account, "email": email}
    connection.execute(insert(one_time).values(values | {"made_ms": now_ms, "expires_ms": expires_ms}))
    return token


def peek(connection: Connection, token: str, *purposes: Purpose, now_ms: int) -> Row[Any]:
    """A token's row while it is good. Raises Problem alike for one unknown, used, over or of another purpose."""
    good = (one_time.c.hash == hashed(token), one_time.c.used_ms.is_(None), one_time.c.expires_ms > now_ms)
    found = connection.execute(select(one_time).where(*good, one_time.c.kind.in_(purposes))).one_or_none()
    if found is None:
        raise Problem(problems.LINK_OVER)
    return found


def use(connection: Connection, token: str, *purposes: Purpose, now_ms: int) -> Row[Any]:
    """As `peek`, and nobody may again: of two at once one gets it. Raises Problem."""
    found = peek(connection, token, *purposes, now_ms=now_ms)
    spent = update(one_time).where(one_time.c.hash == found.hash, one_time.c.used_ms.is_(None)).values(used_ms=now_ms)
    if connection.execute(spent).rowcount != 1:
        raise Problem(problems.LINK_OVER)
    return found


def void(connection: Connection, account: int, *purposes: Purpose) -> None:
    """What was given to an account for these purposes works no more."""
    mine = (one_time.c.account == account, one_time.c.kind.in_(purposes), one_time.c.used_ms.is_(None))
    connection.execute(update(one_time).where(*mine).values(expires_ms=0))


def remove_over(connection: Connection, before_ms: int) -> None:
    """Those that were used or over before a time."""
    connection.execute(delete(one_time).where(or_(one_time.c.used_ms < before_ms, one_time.c.expires_ms < before_ms)))
