"""The card's file: a path in; a locked SQLite connection, or an error that says what the card did, out.

Three things can be wrong: it takes no writes now (Refused), nobody knows what it holds (StorageFailed), it is ruined (Damaged).
"""

import ctypes
import fcntl
import logging
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from readings.errors import Retry, Stop

log = logging.getLogger("edge.card")

PAGE_BYTES = 1024
MAGIC = b"SQLite format 3\0"
FORMAT = "1"
"""Of the tables below; another one is refused."""
BUSY_S = 1.0
QUOTA_CERTAIN_BYTES = 1 << 20
"""With this much room on the disk it was the quota that SQLite ran into."""
SLACK_PAGES = 64
"""Beyond the quota, for the transaction that makes room: moving rows may take a page before it frees one."""
RESERVE_BYTES = 2 << 20
"""Room for the transaction that makes room on a full disk, where SQLite cannot even delete; less on a small disk.

Half of it is for the file, which grows by what the WAL holds; so the WAL never holds more than that.
"""

_TABLES = (
    "CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS stream(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, previous TEXT)",
    "CREATE TABLE IF NOT EXISTS row(stream INTEGER NOT NULL, seq INTEGER NOT NULL, raw BLOB NOT NULL, crc INTEGER NOT NULL,"
    " PRIMARY KEY(stream, seq)) WITHOUT ROWID",
)


class Refused(Retry):
    """The disk takes no commit now (full, read-only, locked). The ring is kept; try again at the next flush."""


class Full(Refused):
    """There is no room: the quota is used up (`quota`), or the disk is. Rows may have to leave."""

    quota = True


class StorageFailed(Retry):
    """An fsync or a read failed. Nobody knows what the card holds: the process ends with 75 and never syncs this file again."""


class Damaged(Retry):
    """The file is no database any more, or was removed under us: `Outbox.renewed()` goes on with a new card."""


def connect(path: Path) -> sqlite3.Connection:
    """For writing; transactions are begun and ended by hand."""
    return sqlite3.connect(path, isolation_level=None, timeout=BUSY_S, check_same_thread=False)


def connect_reading(path: Path) -> sqlite3.Connection:
    """Read-only, beside a daemon that writes or without one. Raises Retry naming the path."""
    if not path.is_file():
        raise Retry("there is no outbox file", what=str(path), hint="give the gateway's store with --store or --config")
    uri = f"{path.resolve().as_uri()}?mode=ro"
    with named(path):
        db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_S, check_same_thread=False)
        try:
            db.execute("SELECT 1 FROM meta, stream, row LIMIT 1").fetchone()
        except sqlite3.OperationalError as error:
            db.close()
            if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:
                raise Retry(str(error), what=str(path), hint="give the gateway's outbox; this is another database") from error
            # On a read-only medium SQLite cannot make its shared memory; without a WAL the file alone is the whole truth.
            if (error.sqlite_errorcode & 0xFF) != sqlite3.SQLITE_CANTOPEN or beside(path, "-wal").exists():
                raise
            db = sqlite3.connect(f"{uri}&immutable=1", uri=True, isolation_level=None, check_same_thread=False)
    return db


def set_up(db: sqlite3.Connection, quota_bytes: int) -> None:
    db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    db.execute("PRAGMA journal_mode = WAL").fetchone()
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA wal_autocheckpoint = 0").fetchone()
    db.execute("PRAGMA journal_size_limit = 4194304").fetchone()
    db.execute("PRAGMA cache_size = -1024")
    limit_pages(db, quota_bytes)
    if db.execute("SELECT count(*) FROM sqlite_master WHERE name IN ('meta', 'stream', 'row')").fetchone()[0] == 3:
        return
    db.execute("BEGIN IMMEDIATE")
    for table in _TABLES:
        db.execute(table)
    card = f"{secrets.randbits(63):016x}"
    db.executemany("INSERT OR IGNORE INTO meta(key, value) VALUES (?, ?)", [("format", FORMAT), ("card", card)])
    db.execute("COMMIT")


def limit_pages(db: sqlite3.Connection, quota_bytes: int, *, slack: int = 0) -> None:
    """The quota; SQLite never sets it below the file's size."""
    db.execute(f"PRAGMA max_page_count = {max(16, quota_bytes // PAGE_BYTES) + slack}").fetchone()


@contextmanager
def named(path: Path) -> Iterator[None]:
    """SQLite's errors as the tree's: Refused, StorageFailed, Damaged."""
    try:
        yield
    except sqlite3.Error as error:
        raise _trouble(error, path) from error


def _trouble(error: sqlite3.Error, path: Path) -> Exception:
    code, what = getattr(error, "sqlite_errorcode", None), str(path)
    if code is None:
        # Text that is not UTF-8 comes without a code; any other such error is our own misuse.
        return Damaged(str(error), what=what) if isinstance(error, sqlite3.OperationalError) else error
    base = code & 0xFF
    if base in _DAMAGE:
        return Damaged(str(error), what=what, hint="the file is moved aside and a new card begins")
    if base == sqlite3.SQLITE_IOERR and (code in _SYNC_ERRORS or not _takes_no_writes(path)):
        return StorageFailed(f"{error} ({error.sqlite_errorname})", what=what, hint="look at the card and at dmesg")
    if base == sqlite3.SQLITE_FULL and _free_bytes(path) > QUOTA_CERTAIN_BYTES:
        return Full("the quota is used up", what=what, hint="raise store.quota, or mend the link: held rows make room")
    if base == sqlite3.SQLITE_FULL or (base == sqlite3.SQLITE_IOERR and not _free_bytes(path)):
        full = Full(str(error), what=what, hint=_HINTS[base])
        full.quota = False
        return full
    return Refused(str(error), what=what, hint=_HINTS[base]) if base in _HINTS else error


_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT}
_SYNC_ERRORS = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC, sqlite3.SQLITE_IOERR_CLOSE}
_HINTS = {
    sqlite3.SQLITE_FULL: "make room on the disk",
    sqlite3.SQLITE_IOERR: "make room on the disk, or remount it writable",
    sqlite3.SQLITE_READONLY: "remount the disk writable, or give the file to the daemon's user",
    sqlite3.SQLITE_CANTOPEN: "look at the file's owner and at the room on the disk",
    sqlite3.SQLITE_PERM: "give the file to the daemon's user",
    sqlite3.SQLITE_BUSY: "end the program that keeps it locked",
    sqlite3.SQLITE_LOCKED: "end the program that keeps it locked",
    sqlite3.SQLITE_PROTOCOL: "end the program that keeps it locked",
    sqlite3.SQLITE_NOMEM: "free some memory",
}


def _takes_no_writes(path: Path) -> bool:
    """Whether the file system is full or read-only: then an I/O error is no sign of a dying card."""
    try:
        found = os.statvfs(path.parent)
    except OSError:  # the folder is gone, or its device
        return True
    return bool(found.f_flag & os.ST_RDONLY) or (found.f_files > 0 and found.f_favail == 0) or _free_bytes(path) < 64 * PAGE_BYTES


def _free_bytes(path: Path) -> int:
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def keep_reserve(path: Path, quota_bytes: int) -> int:
    """Claims room on the disk in a file beside the outbox, while there is plenty. Its size [bytes], 0 without one."""
    reserve = beside(path, ".reserve")
    try:
        if reserve.exists():
            return reserve.stat().st_size
        found = os.statvfs(path.parent)
        wanted = min(RESERVE_BYTES, quota_bytes // 8, found.f_blocks * found.f_frsize // 4) // 4096 * 4096
        if wanted == 0 or found.f_bavail * found.f_frsize < 2 * wanted:
            return 0
        with reserve.open("wb") as out:
            os.posix_fallocate(out.fileno(), 0, wanted)
    except OSError as error:
        log.warning("no reserve path=%s why=%r", reserve, error.strerror)
        release_reserve(path)
        return 0
    return wanted


def release_reserve(path: Path) -> None:
    """Gives the room back, to be used by the transaction that deletes."""
    with suppress(OSError):
        beside(path, ".reserve").unlink(missing_ok=True)


def drop_salvaged(path: Path) -> int:
    """Removes damaged files whose rows are all on the card again: on a full disk they were kept long enough. How many."""
    done = 0
    for old in path.parent.glob(f"{path.name}.salvaged-*"):
        with suppress(OSError):
            old.unlink()
            log.warning("salvaged file removed path=%s", old)
            done += 1
    return done


def take_lock(path: Path) -> int:
    lock = beside(path, ".lock")
    if path.is_dir():
        raise Stop("is a folder", what=str(path), hint=f"name a file, as in store: {{path: {path / 'outbox.db'}}}")
    if not path.parent.is_dir():
        raise Retry("the store's folder is missing", what=str(path.parent), hint="create it or mend store.path")
    try:
        held = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        why = f"the store's folder is not writable: {error.strerror}"
        raise Retry(why, what=str(path.parent), hint="give it to the daemon's user or mend store.path") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        pid = os.read(held, 20).decode(errors="replace").strip() or "unknown"
        os.close(held)
        raise Stop(f"in use by the daemon with pid {pid}", what=str(path), hint="stop that one first") from error
    try:
        os.ftruncate(held, 0)
        os.pwrite(held, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:  # a full disk; the lock itself holds
        log.warning("pid not written path=%s why=%r", lock, error.strerror)
    return held


def move_aside(path: Path, *, file_too: bool) -> Path:
    """`outbox.db.damaged-<time>` with its WAL beside it, so that a later salvage finds both; or the WAL alone."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside, again = beside(path, f".damaged-{stamp}"), 0
    while aside.exists():
        again += 1
        aside = beside(path, f".damaged-{stamp}-{again}")
    for suffix in ("", "-wal") if file_too else ("-wal",):
        if beside(path, suffix).exists():
            beside(path, suffix).rename(beside(aside, suffix))
    beside(path, "-shm").unlink(missing_ok=True)
    return aside


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return -1


def never_close(db: sqlite3.Connection) -> None:
    """Closing would checkpoint, sync, and remove the WAL by name: one reference for ever keeps it open."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(db))
