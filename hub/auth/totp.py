"""An account and a code in; whether it is theirs, once, out. Time-based codes (RFC 6238) and recovery codes.

The secret lies in the database sealed: AES-256-GCM under a key derived from the hub secret (a file) and the account, so that
a copy of the database alone opens nothing. A code is good in its own 30 s and in those before and after, and only once.
"""

import base64
import hmac
import logging
import re
import secrets
from hashlib import sha256

import pyotp
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Struct
from sqlalchemy import Connection, delete, insert, or_, select, update

from hub.database.tables import account, recovery_code

log = logging.getLogger("hub.auth")
ISSUER = "Harmattan"
STEP_MS = 30_000
RECOVERY_CODES = 10
_CODE = re.compile(r"[0-9]{6}")
_NONCE = 12


class Begun(Struct, frozen=True):
    """What an authenticator app needs: `uri` and, as a picture of it, `qr` (SVG); `secret` for typing."""

    secret: str
    uri: str
    qr: str


def begin(connection: Connection, owner: int, *, secret: bytes) -> Begun | None:
    """A new secret that counts once `confirm` saw a code of it. None when codes are on already. `secret`: the hub's."""
    email, on = connection.execute(select(account.c.email, account.c.totp_ms).where(account.c.id == owner)).one()
    if on is not None:
        return None
    made = pyotp.random_base32(32)  # 160 bits (RFC 4226, section 4)
    values = {"totp": _sealed(made, owner, secret), "totp_ms": None, "totp_step": None}
    connection.execute(update(account).where(account.c.id == owner).values(values))
    uri = pyotp.TOTP(made, name=email, issuer=ISSUER).provisioning_uri()
    return Begun(made, uri, _picture(uri))


def confirm(connection: Connection, owner: int, code: str, now_ms: int, *, secret: bytes) -> list[str] | None:
    """Turns codes on and returns the recovery codes, told once. None for a wrong code, or where nothing was begun."""
    row = connection.execute(select(account.c.totp_ms).where(account.c.id == owner).with_for_update()).one()
    if row.totp_ms is not None or not _spend_step(connection, owner, code, now_ms, secret):
        return None
    connection.execute(update(account).where(account.c.id == owner).values(totp_ms=now_ms))
    codes = [_new_recovery_code() for _ in range(RECOVERY_CODES)]
    connection.execute(delete(recovery_code).where(recovery_code.c.account == owner))
    connection.execute(insert(recovery_code), [{"account": owner, "hash": _hash(code)} for code in codes])
    return codes


def verify(connection: Connection, owner: int, code: str, now_ms: int, *, secret: bytes) -> bool:
    """Whether this is a code of the account's app, or one of its recovery codes: then it is spent. In a write transaction.

    False as well while codes are not on. The transaction has to be committed, else the code could be used again. Count
    attempts before asking: a code has 20 bits.
    """
    if connection.execute(select(account.c.totp_ms).where(account.c.id == owner)).scalar() is None:
        return False
    if _CODE.fullmatch(code.replace(" ", "")):
        return _spend_step(connection, owner, code, now_ms, secret)
    spent = (recovery_code.c.account == owner, recovery_code.c.hash == _hash(code), recovery_code.c.used_ms.is_(None))
    return connection.execute(update(recovery_code).where(*spent).values(used_ms=now_ms)).rowcount == 1


def remove(connection: Connection, owner: int) -> None:
    """Turns codes off; the secret and the recovery codes are gone."""
    connection.execute(update(account).where(account.c.id == owner).values(totp=None, totp_ms=None, totp_step=None))
    connection.execute(delete(recovery_code).where(recovery_code.c.account == owner))


def _spend_step(connection: Connection, owner: int, code: str, now_ms: int, secret: bytes) -> bool:
    """Whether the code is that of a time step not used yet; of two requests with one code, one gets it."""
    row = connection.execute(select(account.c.totp, account.c.totp_step).where(account.c.id == owner)).one_or_none()
    opened = None if row is None or row.totp is None else _opened(row.totp, owner, secret)
    given = code.replace(" ", "")
    if opened is None or not _CODE.fullmatch(given):
        return False
    generator, now = pyotp.HOTP(opened), now_ms // STEP_MS
    good = [step for step in (now - 1, now, now + 1) if hmac.compare_digest(generator.at(step), given)]
    if not good:
        return False
    unused = or_(account.c.totp_step.is_(None), account.c.totp_step < good[-1])
    spent = update(account).where(account.c.id == owner, unused).values(totp_step=good[-1])
    return connection.execute(spent).rowcount == 1


def _new_recovery_code() -> str:
    """24 letters of base32 in groups: 120 bits, so that a plain hash is enough to keep it by (OWASP ASVS 5.0, 6.5.2)."""
    letters = base64.b32encode(secrets.token_bytes(15)).decode().lower()
    return "-".join(letters[at : at + 6] for at in range(0, 24, 6))


def _hash(code: str) -> str:
    """Of a recovery code, however it was typed."""
    return sha256("".join(letter for letter in code.lower() if letter.isalnum()).encode("utf-8", "replace")).hexdigest()


def _sealed(opened: str, owner: int, secret: bytes) -> str:
    nonce = secrets.token_bytes(_NONCE)
    return base64.b64encode(nonce + AESGCM(_key(owner, secret)).encrypt(nonce, opened.encode(), None)).decode()


def _opened(sealed: str, owner: int, secret: bytes) -> str | None:
    raw = base64.b64decode(sealed)
    try:
        return AESGCM(_key(owner, secret)).decrypt(raw[:_NONCE], raw[_NONCE:], None).decode()
    except InvalidTag:
        log.error("totp: the secret of account=%d cannot be opened: is keys/hub-secret the one of this database?", owner)
        return None


def _key(owner: int, secret: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869) of the hub secret, another for each account: a sealed secret moved to another one does not open."""
    return HKDF(SHA256(), 32, salt=b"harmattan totp", info=str(owner).encode()).derive(secret)


def _picture(text: str) -> str:
    """A QR code as SVG that a page may hold as it is: no style, no script, nothing to fetch."""
    import segno

    return str(segno.make(text, error="m", micro=False).svg_inline(scale=4, border=4, dark="#000", light="#fff"))
