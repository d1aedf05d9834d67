"""A caller in, a signed token out, and back. EdDSA (Ed25519) only; the keys are files in DATA_DIR, never a shared secret.

Every `token-<n>.pem` verifies, the highest signs: a key is changed by adding one, and old tokens end by themselves.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from time import time
from typing import Any
from uuid import uuid4

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from msgspec import Struct

from hub.auth.secrets import kept
from readings.errors import Drop, Stop

ISSUER = "harmattan-hub"
AUDIENCE = "harmattan-api"
LIFE_S = 15 * 60
LEEWAY_S = 10
KEY_FILE = re.compile(r"token-(\d+)\.pem")


class Role(StrEnum):
    """What a caller may do, each role all that the one before may."""

    AUTHENTICATED = "authenticated"
    ADMIN = "admin"


class NetworkRole(StrEnum):
    """What a member may do in one network, each role all that the one before may.

    viewer sees what is private, exact or under embargo; operator moves gateways, swaps sensors, posts readings, sees rejects;
    admin also decides on members, keys, visibility and licence.
    """

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


RANKS = {role: rank for rank, role in enumerate(NetworkRole)}


class Caller(Struct, frozen=True):
    """Who is asking. `networks`: their role in each they belong to, by id; None for admin of all.

    `account` is a person's id, `session` the one their token was made in, `key` the API key they came with; `gateway` is the
    id of the gateway whose key it is. A token made on the hub's own machine has none of these.
    """

    name: str
    role: Role
    networks: Mapping[int, NetworkRole] | None = None
    account: int | None = None
    session: str | None = None
    key: int | None = None
    gateway: int | None = None

    @property
    def audit_name(self) -> str:
        """Who the audit log says it was: `gateway:demo-01`, `key:7`, `account:3`, or `token:<name>` of the hub's own machine."""
        if self.gateway is not None:
            return f"gateway:{self.name}"
        if self.key is not None:
            return f"key:{self.key}"
        return f"token:{self.name}" if self.account is None else f"account:{self.account}"


class BadToken(Drop):
    """Not one of ours, changed, meant for someone else, or over."""


class Key(Struct, frozen=True):
    kid: str
    private: Ed25519PrivateKey


class Tokens:
    """Signs and reads tokens with the keys of one DATA_DIR."""

    def __init__(self, keys: list[Key]) -> None:
        self._signing = keys[-1]
        self._keys = {key.kid: key.private.public_key() for key in keys}

    @classmethod
    def open(cls, data_dir: Path) -> "Tokens":
        """Makes the first key when there is none. Raises Stop on a key file that cannot be read."""
        folder = data_dir / "keys"
        kept(folder / "token-1.pem", _new_key)
        numbered = sorted((int(match[1]), path) for path in folder.iterdir() if (match := KEY_FILE.fullmatch(path.name)))
        return cls([_read(path) for _, path in numbered])

    def sign(self, caller: Caller, *, life_s: int = LIFE_S, now_s: float | None = None) -> str:
        now = int(time() if now_s is None else now_s)
        claims: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "jti": uuid4().hex, "iat": now, "exp": now + life_s}
        claims |= {"sub": caller.name, "role": caller.role.value}
        if caller.session is not None:
            claims |= {"sub": str(caller.account), "sid": caller.session}
        elif caller.networks is not None:
            claims |= {"net": {str(network): role.value for network, role in caller.networks.items()}}
        return jwt.encode(claims, self._signing.private, algorithm="EdDSA", headers={"kid": self._signing.kid})

    def read(self, token: str) -> Caller:
        """Raises BadToken with the reason. A session's token says whose it is; the rights of its account are the database's."""
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._keys.get(kid) if isinstance(kid, str) else None
            if key is None:
                raise BadToken("it was signed by a key that this hub does not have")
            required = ["iss", "aud", "sub", "role", "iat", "exp"]
            claims = jwt.decode(
                token, key, algorithms=["EdDSA"], audience=AUDIENCE, issuer=ISSUER, leeway=LEEWAY_S, options={"require": required}
            )
            if "sid" in claims:
                whose = msgspec.convert((claims["sub"], claims["sid"]), tuple[int, str], strict=False)
                return Caller(claims["sub"], Role.AUTHENTICATED, {}, account=whose[0], session=whose[1])
            networks = msgspec.convert(claims.get("net"), dict[int, NetworkRole] | None, strict=False)
            return Caller(claims["sub"], Role(claims["role"]), networks)
        except (jwt.InvalidTokenError, msgspec.ValidationError, ValueError) as error:
            raise BadToken(str(error) or "it cannot be read") from error


def _new_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read(path: Path) -> Key:
    try:
        private = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise Stop(f"it is no private key: {error}", what=str(path), hint="restore it from a backup, or remove it") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise Stop("it is no Ed25519 key", what=str(path), hint="restore it from a backup, or remove it")
    raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return Key(sha256(raw).hexdigest()[:16], private)
