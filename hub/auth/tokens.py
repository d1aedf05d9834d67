"""A caller in, a signed token out, and back. EdDSA (Ed25519) only; the keys are files in DATA_DIR, never a shared secret.

Every `token-<n>.pem` verifies, the highest signs: a key is changed by adding one, and old tokens end by themselves.
Tokens are access tokens of RFC 9068 (`at+jwt`), and nothing else that looks like a JWT is taken for one.
"""

import json
import logging
import re
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from time import monotonic, time
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
TYPE = "at+jwt"
CLAIMS = ["iss", "aud", "sub", "role", "jti", "iat", "exp"]
LONGEST = 8192
LOOK_S = 2.0
"""So often a running hub looks for keys that were added or removed."""
KEY_FILE = re.compile(r"token-([0-9]{1,9})\.pem")
log = logging.getLogger("hub.auth")


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
    """One `token-<n>.pem`. `kid` is made of its public key; `made_ms` is when the file was written."""

    kid: str
    number: int
    made_ms: int
    private: Ed25519PrivateKey


class Tokens:
    """Signs and reads tokens with the keys of one DATA_DIR, and follows what is added there or taken away."""

    def __init__(self, folder: Path, clock: Callable[[], float] = monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._seen = _listing(folder)
        self._looked = clock()
        self._use(keys_in(folder))

    @classmethod
    def open(cls, data_dir: Path, clock: Callable[[], float] = monotonic) -> "Tokens":
        """Makes the first key when there is none. Raises Stop on a key file that cannot be read."""
        folder = data_dir / "keys"
        if not any(KEY_FILE.fullmatch(path.name) for path in folder.glob("token-*")):
            kept(folder / "token-1.pem", _new_key)
        return cls(folder, clock)

    def sign(self, caller: Caller, *, life_s: int = LIFE_S, now_s: float | None = None) -> str:
        self._look()
        now = int(time() if now_s is None else now_s)
        claims: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "jti": uuid4().hex, "iat": now, "exp": now + life_s}
        claims |= {"sub": caller.name, "role": caller.role.value}
        if caller.session is not None:
            claims |= {"sub": str(caller.account), "sid": caller.session}
        elif caller.networks is not None:
            claims |= {"net": {str(network): role.value for network, role in caller.networks.items()}}
        signing = self._signing
        return jwt.encode(claims, signing.private, algorithm="EdDSA", headers={"kid": signing.kid, "typ": TYPE})

    def read(self, token: str) -> Caller:
        """Raises BadToken with the reason. A session's token says whose it is; the rights of its account are the database's."""
        kid = _kid(token)
        self._look()
        if kid not in self._keys:
            self._look(now=True)  # another process may have added it and signed with it this second
        key = self._keys.get(kid)
        if key is None:
            raise BadToken("it was signed by a key that this hub does not have")
        try:
            claims = jwt.decode(
                token, key, algorithms=["EdDSA"], audience=AUDIENCE, issuer=ISSUER, leeway=LEEWAY_S, options={"require": CLAIMS}
            )
            if claims["aud"] != AUDIENCE:
                raise BadToken("it is meant for others too")
            if "sid" in claims:
                whose = msgspec.convert((claims["sub"], claims["sid"]), tuple[int, str], strict=False)
                return Caller(claims["sub"], Role.AUTHENTICATED, {}, account=whose[0], session=whose[1])
            networks = msgspec.convert(claims.get("net"), dict[int, NetworkRole] | None, strict=False)
            return Caller(claims["sub"], Role(claims["role"]), networks)
        except (jwt.InvalidTokenError, msgspec.ValidationError, ValueError, OverflowError) as error:
            raise BadToken(str(error) or "it cannot be read") from error

    def _look(self, *, now: bool = False) -> None:
        """Takes up the keys as the folder has them, looked at once in LOOK_S. A file that cannot be read changes nothing."""
        if not now and self._clock() - self._looked < LOOK_S:
            return
        with self._lock:
            self._looked = self._clock()
            try:
                seen = _listing(self._folder)
                if seen != self._seen:
                    self._use(keys_in(self._folder))
                    self._seen = seen
                    log.info("token keys changed keys=%d signing=%s", len(self._keys), self._signing.kid)
            except (Stop, OSError) as error:
                log.error("token keys stay as they were: %s", error)

    def _use(self, keys: list[Key]) -> None:
        if not keys:
            raise Stop(
                "there is no token-<n>.pem", what=str(self._folder), hint="restore it from a backup, or start the hub anew"
            )
        self._signing = keys[-1]
        self._keys = {key.kid: key.private.public_key() for key in keys}


def keys_in(folder: Path) -> list[Key]:
    """The keys of a folder, the one that signs last. Raises Stop on a file that cannot be read."""
    numbered = sorted((int(match[1]), path) for path in folder.iterdir() if (match := KEY_FILE.fullmatch(path.name)))
    return [_read(number, path) for number, path in numbered]


def rotate(data_dir: Path) -> Key:
    """Adds a key, which signs from now on; a running hub takes it up within seconds. Raises Stop."""
    folder = data_dir / "keys"
    Tokens.open(data_dir)
    number = keys_in(folder)[-1].number + 1
    return _read(number, _written(folder, number))


def remove(data_dir: Path, kid: str) -> Key:
    """Takes a key away: every token that it signed is refused from then on. Raises Stop for the one that signs."""
    keys = keys_in(data_dir / "keys") if (data_dir / "keys").is_dir() else []
    found = next((key for key in keys if key.kid == kid), None)
    if found is None:
        raise Stop("there is no key of this id", what=kid, hint="`harmattan-hub keys list` shows all")
    if found is keys[-1]:
        raise Stop("it is the key that signs", what=kid, hint="add another one first: harmattan-hub keys rotate")
    _path(data_dir / "keys", found.number).unlink(missing_ok=True)
    return found


def _kid(token: str) -> str:
    """The id of the key that a token names, when its form is exactly what `sign` makes. Raises BadToken.

    No other header is understood (RFC 7515, 4.1: jku, jwk, x5c, crit), no other spelling of base64 taken: what is signed then has
    one form only, and nothing in a header that nobody has verified yet decides anything but which of our keys to try.
    """
    parts = token.split(".") if len(token) <= LONGEST else []
    if len(parts) != 3:
        raise BadToken("it is no token: three parts with dots between")
    try:
        head, _, _ = (_bytes(part) for part in parts)
        header = json.loads(head, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise BadToken("it is no token: a part of it cannot be read") from error
    if not isinstance(header, dict) or set(header) != {"alg", "typ", "kid"}:
        raise BadToken("its header has other members than this hub's tokens")
    if (header["alg"], header["typ"]) != ("EdDSA", TYPE) or not isinstance(header["kid"], str):
        raise BadToken("its header is not that of this hub's tokens")
    return header["kid"]


def _bytes(part: str) -> bytes:
    """Base64url as RFC 7515 wants it: no padding, no other letter, no loose bits at the end. Raises ValueError."""
    made = urlsafe_b64decode(part.encode("ascii") + b"=" * (-len(part) % 4))
    if urlsafe_b64encode(made).rstrip(b"=") != part.encode("ascii"):
        raise ValueError("base64")
    return made


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name stands there twice")
    return dict(pairs)


def _listing(folder: Path) -> frozenset[tuple[str, int]]:
    return frozenset((path.name, path.stat().st_mtime_ns) for path in folder.glob("token-*.pem"))


def _path(folder: Path, number: int) -> Path:
    return folder / f"token-{number}.pem"


def _written(folder: Path, number: int) -> Path:
    kept(_path(folder, number), _new_key)
    return _path(folder, number)


def _new_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read(number: int, path: Path) -> Key:
    try:
        private = load_pem_private_key(path.read_bytes(), None)
        made_ms = path.stat().st_mtime_ns // 1_000_000
    except (OSError, ValueError, TypeError) as error:
        raise Stop(f"it is no private key: {error}", what=str(path), hint="restore it from a backup, or remove it") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise Stop("it is no Ed25519 key", what=str(path), hint="restore it from a backup, or remove it")
    raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return Key(sha256(raw).hexdigest()[:16], number, made_ms, private)
