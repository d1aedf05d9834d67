"""A name in, a one-time token out; the token in, a gateway's credential out, once. And back: revoke.

The database holds a token's hash and a key's version, never a secret: keys are HKDF(hub secret, gateway, version), passwords
go into the broker's file only.
"""

import re
import secrets
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from time import monotonic, time_ns
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Struct
from sqlalchemy import Connection, Row, insert, select, update

from hub import problems
from hub.audit import record
from hub.auth.callers import key_hash
from hub.database import tables
from hub.database.engine import Database
from hub.fleet import broker
from hub.fleet.visibility import VISIBILITIES
from hub.problems import Problem
from readings.errors import Drop, Retry

NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,30}")
TOKEN_CHARACTERS = 48
TOKEN_LIFE_MS = 24 * 3600 * 1000
KEYS_KEPT_S = 1.0
"""A revoked gateway is refused after this long at the latest, without a look into the database for each message."""


class NotEnrolled(Drop):
    """A gateway cannot be enrolled or revoked as asked. Nothing was changed."""


class Credential(Struct, frozen=True):
    """The gateway's credential file, as contract.md names it. `key`: 64 hex digits; `ca`: PEM or None."""

    gateway: str
    password: str
    key: str
    key_version: int
    ca: str | None = None


def invite(
    database: Database, name: str, *, visibility: str | None = None, life_ms: int = TOKEN_LIFE_MS, now_ms: int | None = None
) -> str:
    """A one-time token for a gateway of this name; earlier tokens of it stop to work. Raises NotEnrolled.

    A new name becomes a gateway of the network `default`. `visibility`: of the station that it will make; None: as usual there.
    """
    named(name)
    if visibility is not None and visibility not in VISIBILITIES:
        raise NotEnrolled(f"'{visibility}' is no visibility", what=name, hint=f"use one of {', '.join(VISIBILITIES)}")
    with database.write() as connection:
        gateway = _gateway_to_enrol(connection, name)
        if visibility is not None:
            note_visibility(connection, gateway, visibility)
        token = new_token(connection, gateway, life_ms, now_ms)
        record(connection, "shell", "gateway.invite", f"gateway:{name}", network=_network(connection, gateway))
    return token


def named(name: str) -> str:
    """The name, if a gateway may have it. Raises NotEnrolled."""
    if not NAME.fullmatch(name) or name in broker.RESERVED:
        hint = "use 2 to 31 of a-z, 0-9 and -, not starting with -; hub and viewer are taken"
        raise NotEnrolled("is no name for a gateway", what=name, hint=hint)
    return name


def new_token(connection: Connection, gateway: int, life_ms: int = TOKEN_LIFE_MS, now_ms: int | None = None) -> str:
    """A one-time token of a gateway, in the caller's transaction; its earlier ones stop to work."""
    now = _now_ms() if now_ms is None else now_ms
    token = secrets.token_hex(TOKEN_CHARACTERS // 2)
    connection.execute(update(tables.token).where(tables.token.c.gateway == gateway).values(expires_ms=0))
    connection.execute(insert(tables.token).values(hash=_hash(token), gateway=gateway, expires_ms=now + life_ms))
    return token


def redeem(
    database: Database,
    token: str,
    *,
    secret: bytes,
    broker_dir: Path,
    ca: str | None = None,
    address: str | None = None,
    now_ms: int | None = None,
) -> Credential:
    """A token's credential, once. Writes the broker's account before it commits, so nothing is left half-done. Raises Problem."""
    now = _now_ms() if now_ms is None else now_ms
    token = token.strip()
    if not re.fullmatch(rf"[0-9a-f]{{{TOKEN_CHARACTERS}}}", token):
        raise Problem(problems.TOKEN_CUT, f"it has {len(token)} characters, a whole one has {TOKEN_CHARACTERS} of 0-9 and a-f")
    with database.write() as connection:
        gateway = _redeemable(connection, token, now)
        version = gateway.key_version + 1
        key = down_key(secret, gateway.name, version).hex()
        connection.execute(update(tables.token).where(tables.token.c.hash == _hash(token)).values(used_ms=now))
        connection.execute(
            update(tables.gateway)
            .where(tables.gateway.c.id == gateway.id)
            .values(key_version=version, enrolled_ms=now, revoked_ms=None, key_hash=key_hash(key))
        )
        password = secrets.token_hex(32)
        try:
            broker.set_password(broker_dir, gateway.name, password)
        except Retry as error:
            raise Problem(problems.UNAVAILABLE, str(error), headers={"Retry-After": "30"}) from error
        who = f"gateway:{gateway.name}"
        record(connection, who, "gateway.enrol", who, network=gateway.network, address=address, version=version)
    return Credential(gateway.name, password, key, version, ca)


def revoke(database: Database, name: str, *, broker_dir: Path, now_ms: int | None = None) -> None:
    """From now on the hub refuses this gateway, its tokens too; then the broker does. Raises NotEnrolled, Retry."""
    with database.write() as connection:
        gateway = connection.execute(select(tables.gateway.c.id).where(tables.gateway.c.name == name)).one_or_none()
        if gateway is None:
            raise NotEnrolled("there is no gateway of this name", what=name, hint="`harmattan-hub gateway list` shows all")
        withdraw(connection, gateway.id, now_ms)
        record(connection, "shell", "gateway.revoke", f"gateway:{name}", network=_network(connection, gateway.id))
    broker.remove(broker_dir, name)


def withdraw(connection: Connection, gateway: int, now_ms: int | None = None) -> None:
    """In the caller's transaction: a gateway, its tokens, its credential's key and its API keys are refused from now on."""
    now = _now_ms() if now_ms is None else now_ms
    row, key = tables.gateway.c, tables.api_key.c
    connection.execute(update(tables.gateway).where(row.id == gateway).values(revoked_ms=now, key_hash=None))
    connection.execute(update(tables.token).where(tables.token.c.gateway == gateway).values(expires_ms=0))
    connection.execute(update(tables.api_key).where(key.gateway == gateway, key.revoked_ms.is_(None)).values(revoked_ms=now))


def down_key(secret: bytes, gateway: str, key_version: int) -> bytes:
    """HKDF-SHA256(hub secret, gateway, key version): 32 bytes that seal what the hub tells this gateway (RFC 5869)."""
    return HKDF(SHA256(), 32, salt=b"harmattan down", info=f"{gateway}\0{key_version}".encode()).derive(secret)


def note_keys(database: Database, secret: bytes) -> int:
    """Gateways enrolled before their keys were good for POST /ingest: notes the hash of each. Returns how many there were."""
    row = tables.gateway.c
    lacking = (row.kind == "edge", row.enrolled_ms.is_not(None), row.revoked_ms.is_(None), row.key_hash.is_(None))
    with database.read() as connection:
        found = connection.execute(select(row.id, row.name, row.key_version).where(*lacking)).all()
    if found:
        with database.write() as connection:
            for one in found:
                hashed = key_hash(down_key(secret, one.name, one.key_version).hex())
                same = (row.id == one.id, row.key_version == one.key_version, *lacking)
                connection.execute(update(tables.gateway).where(*same).values(key_hash=hashed))
    return len(found)


def keys(database: Database, secret: bytes, clock: Callable[[], float] = monotonic) -> Callable[[str], tuple[bytes, int] | None]:
    """What the bridge asks for each message: a gateway's (key, version), None for one unknown, not enrolled yet or revoked."""
    kept: dict[str, tuple[float, tuple[bytes, int] | None]] = {}
    lock = threading.Lock()

    def ask(gateway: str) -> tuple[bytes, int] | None:
        with lock:
            found = kept.get(gateway)
        if found and clock() - found[0] < KEYS_KEPT_S:
            return found[1]
        version = _version(database, gateway)
        held = found[1] if found else None
        key = None if version is None else held if held and held[1] == version else (down_key(secret, gateway, version), version)
        with lock:
            kept[gateway] = (clock(), key)
        return key

    return ask


def _version(database: Database, gateway: str) -> int | None:
    row = tables.gateway.c
    with database.read() as connection:
        asked = select(row.key_version).where(row.name == gateway, row.enrolled_ms.is_not(None), row.revoked_ms.is_(None))
        return connection.execute(asked).scalar_one_or_none()


def _network(connection: Connection, gateway: int) -> int:
    return int(connection.execute(select(tables.gateway.c.network).where(tables.gateway.c.id == gateway)).scalar_one())


def _gateway_to_enrol(connection: Connection, name: str) -> int:
    found = connection.execute(select(tables.gateway).where(tables.gateway.c.name == name)).one_or_none()
    if found is None:
        network = select(tables.network.c.id).where(tables.network.c.slug == "default").scalar_subquery()
        made = connection.execute(insert(tables.gateway).values(name=name, network=network, key_version=0))
        return int(made.inserted_primary_key[0])  # type: ignore[index]  # an insert of one row has one key
    if found.enrolled_ms is not None and found.revoked_ms is None:
        raise NotEnrolled(
            "is enrolled already", what=name, hint=f"to replace it: harmattan-hub gateway revoke {name}, then enrol again"
        )
    return int(found.id)


def _redeemable(connection: Connection, token: str, now_ms: int) -> Row[Any]:
    """The gateway that a token may still enrol. Raises Problem."""
    row = tables.token.c
    asked = select(tables.gateway, row.expires_ms, row.used_ms).join(tables.token, row.gateway == tables.gateway.c.id)
    # On PostgreSQL two transactions read at once: the second waits here, and then reads that the token was used.
    found = connection.execute(asked.where(row.hash == _hash(token)).with_for_update()).one_or_none()
    if found is None:
        raise Problem(problems.TOKEN_UNKNOWN)
    if found.used_ms is not None:
        raise Problem(problems.TOKEN_USED)
    if found.expires_ms == 0:
        raise Problem(problems.TOKEN_REVOKED)
    if found.expires_ms <= now_ms:
        raise Problem(problems.TOKEN_EXPIRED)
    return found


def note_visibility(connection: Connection, gateway: int, visibility: str) -> None:
    """Kept until settle makes the gateway's station, whose name only the gateway knows."""
    key = f"visibility/{gateway}"
    connection.execute(tables.meta.delete().where(tables.meta.c.key == key))
    connection.execute(insert(tables.meta).values(key=key, value=visibility))


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def _now_ms() -> int:
    return time_ns() // 1_000_000
