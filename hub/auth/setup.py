"""A hub without an admin in; a one-time set-up token out. No account stands ready with a password that everybody knows."""

import secrets
from pathlib import Path

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from hub.auth.onetime import Purpose
from hub.auth.secrets import kept
from hub.auth.sessions import hashed
from hub.auth.tokens import Role
from hub.database.engine import Database
from hub.database.tables import account, one_time

FILE = "setup-token"
NEVER_MS = (1 << 62) - 1


def offer(database: Database, data_dir: Path, now_ms: int) -> str | None:
    """The token with which the first admin is made: the same at each start until it is used. None when there is an admin."""
    path = data_dir / FILE
    with database.read() as connection:
        if has_admin(connection):
            path.unlink(missing_ok=True)
            return None
    token = _kept(path)
    try:
        return _noted(database, path, token, now_ms)
    except IntegrityError:  # another process of this hub has just noted it
        return token


def has_admin(connection: Connection) -> bool:
    """Whether somebody can sign in and look after this hub."""
    able = (account.c.role == Role.ADMIN.value, account.c.disabled_ms.is_(None))
    return connection.execute(select(account.c.id).where(*able).limit(1)).first() is not None


def _kept(path: Path) -> str:
    return kept(path, lambda: secrets.token_urlsafe(32).encode()).decode().strip()


def _noted(database: Database, path: Path, token: str, now_ms: int) -> str:
    with database.write() as connection:
        known = connection.execute(select(one_time.c.used_ms).where(one_time.c.hash == hashed(token))).one_or_none()
        if known is not None and known.used_ms is None:
            return token
        if known is not None:  # its admin is gone again, the file was not: a token works once
            path.unlink(missing_ok=True)
            token = _kept(path)
        connection.execute(delete(one_time).where(one_time.c.kind == Purpose.SETUP.value, one_time.c.used_ms.is_(None)))
        values = {"hash": hashed(token), "kind": Purpose.SETUP.value, "made_ms": now_ms, "expires_ms": NEVER_MS}
        connection.execute(insert(one_time).values(values))
    return token
