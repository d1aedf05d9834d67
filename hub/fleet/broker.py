"""A folder in; a mosquitto that knows the hub, the viewer and each gateway out. Whoever runs mosquitto sends it HUP.

`mosquitto.conf`, `acl` (static patterns: a gateway may only speak under its own name) and `passwords`, which enrol and revoke
rewrite as a whole, so that a reader never sees half a file.
"""

import base64
import fcntl
import hashlib
import os
import pwd
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from readings.errors import Retry, Stop

HUB, VIEWER = "hub", "viewer"
RESERVED = frozenset({HUB, VIEWER})
"""Accounts of the broker that no gateway may be named after."""
QUEUED_MESSAGES = 20_000
MESSAGE_BYTES = 32 * 1024
ITERATIONS = 101
"""mosquitto_passwd's own default: these passwords are 256 random bits, so a slow hash would cost each connection for nothing."""
PASSWORD_LINE = re.compile(r"^(?P<user>[^:\s]+):(?P<hash>\$7\$\S+)$")

ACL = """\
# Written by `harmattan-hub broker`. %u is the name that the password proved.
user hub
topic read gw/+/up
topic read gw/+/hello
topic write gw/+/down
topic write telemetry/#

user viewer
topic read telemetry/#

pattern write gw/%u/up
pattern write gw/%u/hello
pattern read gw/%u/down
"""


class Accounts(Struct, frozen=True):
    """Passwords in the clear, this once. `viewer` is None when that account exists already and keeps its password."""

    hub: str
    viewer: str | None


class Tls(Struct, frozen=True):
    """A certificate and its key [PEM files], and the port on which every address may speak TLS."""

    certificate: Path
    key: Path
    port: int = 8883


class HubAccount(Struct, frozen=True):
    """What DATA_DIR/broker.json holds: how the hub itself reaches its broker when MQTT_URL names no account."""

    url: str
    user: str
    password: str


def write(
    folder: Path, port: int, tls: Tls | None = None, *, hub_password: str | None = None, new_viewer: bool = False
) -> Accounts:
    """Writes conf, ACL and the two accounts; gateways that are there keep theirs. Raises Retry when it may not write."""
    folder = folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _replace(folder / "acl", ACL)
        _replace(folder / "mosquitto.conf", _conf(folder, port, tls))
        with _accounts(folder, create=True) as accounts:
            hub = hub_password or secrets.token_hex(32)
            accounts[HUB] = hashed(hub)
            viewer = secrets.token_hex(16) if new_viewer or VIEWER not in accounts else None
            if viewer:
                accounts[VIEWER] = hashed(viewer)
    except OSError as error:
        raise Retry(
            f"{error.strerror}", what=f"broker folder {error.filename or folder}", hint="name a folder you may write"
        ) from error
    return Accounts(hub, viewer)


def set_password(folder: Path, user: str, password: str) -> None:
    """Raises Retry when this folder holds no broker or may not be written; the old file then stands."""
    with _refusals(folder), _accounts(folder) as accounts:
        accounts[user] = hashed(password)


def remove(folder: Path, user: str) -> bool:
    """Whether the account was there. Raises Retry like set_password."""
    with _refusals(folder), _accounts(folder) as accounts:
        return accounts.pop(user, None) is not None


def users(folder: Path) -> frozenset[str]:
    """Every account of the broker, the hub's and the viewer's among them."""
    with _refusals(folder):
        return frozenset(_read(folder / "passwords"))


def hashed(password: str, *, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """`$7$iterations$salt$hash`, PBKDF2-SHA512: mosquitto's own format (mosquitto_passwd, since 2.0)."""
    salt = secrets.token_bytes(12) if salt is None else salt
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)
    return f"$7${iterations}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def fits(password: str, hash_text: str) -> bool:
    """Whether a password is the one behind a hash."""
    _, _, iterations, salt, _ = hash_text.split("$")
    return secrets.compare_digest(hashed(password, salt=base64.b64decode(salt), iterations=int(iterations)), hash_text)


def keep_account(data_dir: Path, account: HubAccount) -> None:
    """Writes DATA_DIR/broker.json, readable by its owner only."""
    data_dir.mkdir(parents=True, exist_ok=True)
    _replace(data_dir / "broker.json", msgspec.json.encode(account).decode() + "\n")


def kept_account(data_dir: Path) -> HubAccount | None:
    """What DATA_DIR/broker.json says, None when there is none. Raises Stop when it cannot be read."""
    path = data_dir / "broker.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=HubAccount)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Stop(str(error), what=str(path), hint="write it anew with `harmattan-hub broker`") from error


def _conf(folder: Path, port: int, tls: Tls | None) -> str:
    lines = [
        "# Written by `harmattan-hub broker`; reads `passwords` and `acl` again on HUP.",
        "per_listener_settings false",
        "allow_anonymous false",
        f"password_file {folder / 'passwords'}",
        f"acl_file {folder / 'acl'}",
        # Nothing here is durable by design: gateways keep what the hub has not committed.
        "persistence false",
        f"max_queued_messages {QUEUED_MESSAGES}",
        f"max_queued_bytes {QUEUED_MESSAGES * MESSAGE_BYTES}",
        "max_inflight_messages 1000",
        f"max_packet_size {2 * MESSAGE_BYTES}",
        "set_tcp_nodelay true",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "log_type information",
        # Only a mosquitto that root starts looks at this: it then becomes the account that may read these files.
        f"user {pwd.getpwuid(os.geteuid()).pw_name}",
        "",
        f"listener {port} 127.0.0.1",
    ]
    if tls:
        lines += ["", f"listener {tls.port}", f"certfile {tls.certificate.absolute()}", f"keyfile {tls.key.absolute()}"]
        lines += ["tls_version tlsv1.2"]
    return "\n".join(lines) + "\n"


@contextmanager
def _accounts(folder: Path, *, create: bool = False) -> Iterator[dict[str, str]]:
    """The accounts, to be changed; written back as one file when they differ. One writer at a time over all processes."""
    path = folder / "passwords"
    with (folder / "passwords.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = _read(path) if path.exists() or not create else {}
        accounts = dict(before)
        yield accounts
        if accounts != before:
            _replace(path, "".join(f"{user}:{accounts[user]}\n" for user in sorted(accounts)))


def _read(path: Path) -> Mapping[str, str]:
    found = (PASSWORD_LINE.match(line) for line in path.read_text().splitlines())
    return {match["user"]: match["hash"] for match in found if match}


def _replace(path: Path, text: str) -> None:
    """The whole file or the old one, 0600, on the disk when this returns."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _refusals(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Retry(
            f"{error.strerror}",
            what=f"broker accounts in {folder}",
            hint="write them with `harmattan-hub broker DIR` and point BROKER_DIR there",
        ) from error
