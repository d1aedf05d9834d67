"""A running hub in, a folder out: its database with its ledger, its keys, its broker's accounts. And back into an idle hub.

Each backup is noted in the database before it is begun, so that no gateway deletes what it lacks. After a restore ids go on
1,000,000 higher: what an engine, a page or a program remembers under an old id is never mistaken for something new.
"""

import fcntl
import json
import logging
import os
import re
import secrets
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from hashlib import file_digest
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import make_url

from hub.database.engine import open_database, sqlite_path
from hub.database.tables import metadata
from hub.front.copies import note_backup
from hub.front.cursor import IDS_FROM
from hub.settings import Settings
from readings.errors import Retry, Stop

log = logging.getLogger(__name__)

MANIFEST = "backup.json"
SQLITE_FILE, POSTGRESQL_FILE = "hub.db", "hub.dump"
RAISED = 1_000_000
DRAWN = ("batch", "ready")
"""Tables whose ids the hub draws by itself; all others count up in the database."""
COUNTED = {table.name: column.name for table in metadata.tables.values() for column in table.primary_key if column.identity}


class Manifest(Struct, frozen=True):
    """Written last: a folder without it is no whole backup. `files`: SHA-256 by path."""

    made_ms: int
    version: str
    database: str
    files: dict[str, str]


def backup(settings: Settings, folder: Path, now_ms: int) -> Manifest:
    """Into a folder that is empty or not there yet. The hub may run. Raises Stop, Retry."""
    tool = None if sqlite_path(settings.database) else _tool("pg_dump")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise Stop("is not empty", what=str(folder), hint="name a new folder for each backup, for example by its date")
        with closing(open_database(settings.database)) as database:
            note_backup(database, now_ms)
        if tool is None:
            _copy_sqlite(sqlite_path(settings.database) or Path(), folder / SQLITE_FILE)
        else:
            _call([tool, "--format=custom", f"--file={folder / POSTGRESQL_FILE}"], settings.database)
        for name, path in _files(settings).items():
            _write(folder / name, path.read_bytes())
        names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        for name in names:
            (folder / name).chmod(0o600)
        kind = "postgresql" if tool else "sqlite"
        made = Manifest(now_ms, version("harmattan"), kind, {name: _digest(folder / name) for name in names})
        _write(folder / MANIFEST, msgspec.json.encode(made))
    except OSError as error:
        raise Retry(
            f"{error.strerror}", what=f"backup {error.filename or folder}", hint="is there room, and may you write?"
        ) from error
    return made


def restore(settings: Settings, folder: Path, now_ms: int, *, force: bool = False) -> Manifest:
    """Into a hub that does not run. `force`: also one so old that gateways may have deleted what it lacks. Raises Stop, Retry."""
    made = _checked(folder)
    path = sqlite_path(settings.database)
    if made.database != ("postgresql" if path is None else "sqlite"):
        hint = f"set DATABASE_URL to a {made.database} database"
        raise Stop(f"it is a backup of {made.database}, DATABASE_URL names another kind", what=str(folder), hint=hint)
    age_s = (now_ms - made.made_ms) // 1000
    if age_s > settings.backup_max_age and not force:
        said = f"it is {age_s // 86_400} days old, BACKUP_MAX_AGE is {settings.backup_max_age // 86_400} days"
        hint = "gateways may have deleted rows that it lacks; take a newer one, or accept the gap with --force"
        raise Stop(said, what=str(folder), hint=hint)
    try:
        with _idle(settings):
            _restore_files(settings, folder, made)
            if path is not None:
                _restore_sqlite(folder / SQLITE_FILE, path)
            else:
                _restore_postgresql(folder / POSTGRESQL_FILE, settings.database)
    except OSError as error:
        raise Retry(f"{error.strerror}", what=f"restore {error.filename or ''}".strip(), hint="run it again") from error
    return made


# ---- files


def _files(settings: Settings) -> dict[str, Path]:
    """Names in the backup, and where these files stand in a running hub."""
    keys = sorted((settings.data_dir / "keys").glob("*")) if (settings.data_dir / "keys").is_dir() else []
    named = {f"keys/{path.name}": path for path in keys if path.is_file() and not path.name.startswith(".")}
    named |= {"broker.json": settings.data_dir / "broker.json", "broker/passwords": settings.broker / "passwords"}
    return {name: path for name, path in named.items() if path.is_file()}


def _restore_files(settings: Settings, folder: Path, made: Manifest) -> None:
    for name in made.files:
        if name == "broker/passwords":
            _write(settings.broker / "passwords", (folder / name).read_bytes())
        elif name not in (SQLITE_FILE, POSTGRESQL_FILE):
            _write(settings.data_dir / name, (folder / name).read_bytes())


def _write(path: Path, content: bytes) -> None:
    """As a whole, readable by its owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _checked(folder: Path) -> Manifest:
    """The manifest of a whole backup. Raises Stop naming what is missing or damaged."""
    hint = "take another backup"
    try:
        made = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Stop(f"it has no {MANIFEST} that can be read, so it is no whole backup", what=str(folder), hint=hint) from error
    for name, digest in made.files.items():
        path = folder / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise Stop(f"{MANIFEST} names {name}, which is not inside", what=str(folder), hint=hint)
        if not path.is_file() or _digest(path) != digest:
            raise Stop(f"{name} is missing or damaged", what=str(folder), hint=hint)
    return made


@contextmanager
def _idle(settings: Settings) -> Iterator[None]:
    """While nobody else has the data. Raises Stop naming who has."""
    with ExitStack() as stack:
        for role in ("bridge", "follower"):
            file = stack.enter_context((settings.data_dir / f"{role}.lock").open("a+"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                owner = file.read().strip() or "unknown"
                raise Stop(f"process {owner} runs the hub on this data", what="restore", hint="stop the hub first") from error
        yield


# ---- SQLite


def _copy_sqlite(path: Path, to: Path) -> None:
    os.close(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
        if copy.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise Retry("the copy is not whole", what=str(path), hint="is the database damaged?")


def _restore_sqlite(source: Path, path: Path) -> None:
    """What was there before stands beside it, as `<name>.before-restore`."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    shutil.copyfile(source, draft)
    draft.chmod(0o600)
    with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        _count_up(connection)
        connection.execute("BEGIN IMMEDIATE")
        newest = {table: _newest(connection, table, "id") for table in DRAWN}
        _note_ids(connection, {table: number + RAISED for table, number in newest.items()}, "?")
        for table, column in COUNTED.items():
            seq = _newest(connection, table, column)
            known = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
            connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
            raised = max(seq, known[0] if known else 0) + RAISED
            connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, raised))
        connection.execute("COMMIT")
    if path.exists():
        try:
            with closing(sqlite3.connect(path)) as old:
                old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.DatabaseError:
            log.warning("restore: the database before is damaged path=%s", path)
        path.replace(path.with_name(f"{path.name}.before-restore"))
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    draft.replace(path)


def _count_up(connection: sqlite3.Connection) -> None:
    """SQLite gives an id again unless its table says AUTOINCREMENT; only a restored file needs that (lang_altertable.html, 7)."""
    connection.execute("CREATE TABLE counting (id INTEGER PRIMARY KEY AUTOINCREMENT)")  # makes sqlite_sequence
    connection.execute("DROP TABLE counting")
    number = connection.execute("PRAGMA schema_version").fetchone()[0]
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("BEGIN IMMEDIATE")
    for table, column in COUNTED.items():
        (told,) = connection.execute("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,)).fetchone()
        if "AUTOINCREMENT" not in told:
            changed = re.sub(rf'PRIMARY KEY \(("?{column}"?)\)', r"PRIMARY KEY (\1 AUTOINCREMENT)", told)
            connection.execute("UPDATE sqlite_schema SET sql = ? WHERE type = 'table' AND name = ?", (changed, table))
    connection.execute(f"PRAGMA schema_version = {number + 1}")
    connection.execute("COMMIT")
    connection.execute("PRAGMA writable_schema = RESET")
    if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
        raise Retry("its database is damaged", what="restore", hint="take another backup")


def _newest(connection: Any, table: str, column: str) -> int:
    return int(connection.execute(f"SELECT coalesce(max({column}), 0) FROM {table}").fetchone()[0])  # noqa: S608  # our names


def _note_ids(connection: Any, ids: Mapping[str, int], mark: str) -> None:
    """`meta`: the ids from which the hub draws on."""
    found = connection.execute(f"SELECT value FROM meta WHERE key = '{IDS_FROM}'").fetchone()  # noqa: S608
    before: dict[str, int] = json.loads(found[0]) if found else {}
    raised = {table: max(number, before.get(table, 0) + RAISED) for table, number in ids.items()}
    statement = f"INSERT INTO meta (key, value) VALUES ({mark}, {mark}) ON CONFLICT (key) DO UPDATE SET value = excluded.value"  # noqa: S608
    connection.execute(statement, (IDS_FROM, json.dumps(raised)))
    connection.execute(statement, ("marker", secrets.token_hex(8)))


# ---- PostgreSQL


def _restore_postgresql(source: Path, url: str) -> None:
    import psycopg

    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        with psycopg.connect(address, autocommit=True, connect_timeout=5, application_name="harmattan-restore") as connection:
            asked = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'harmattan-hub'"
            if running := connection.execute(asked).fetchone():
                said = f"a hub is connected to this database (server process {running[0]})"
                raise Stop(said, what="restore", hint="stop every hub first")
        _call(
            [_tool("pg_restore"), "--clean", "--if-exists", "--no-owner", "--exit-on-error", "--single-transaction", str(source)],
            url,
        )
        with psycopg.connect(address, connect_timeout=5, application_name="harmattan-restore") as connection:
            _note_ids(connection, {table: _newest(connection, table, "id") + RAISED for table in DRAWN}, "%s")
            for table, column in COUNTED.items():
                name = f"pg_get_serial_sequence('{table}', '{column}')"
                newest = _newest(connection, table, column)
                connection.execute(f"SELECT setval({name}, greatest({newest}, nextval({name})) + {RAISED})".encode())
    except psycopg.OperationalError as error:
        raise Retry(
            str(error).strip().partition("\n")[0], what="database", hint="is DATABASE_URL right and the server up?"
        ) from error


def _tool(name: str) -> str:
    """PostgreSQL's own program; Debian keeps those of each version in a folder. Raises Stop."""
    if found := shutil.which(name):
        return found
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    for folder in folders:
        if (folder / name).exists():
            return str(folder / name)
    hint = "install postgresql-client of the server's version, or run this where the server runs"
    raise Stop("is not installed on this machine", what=name, hint=hint)


def _call(command: list[str], url: str) -> None:
    """One of PostgreSQL's programs on a database; the password never stands in a process list. Raises Retry with its reason."""
    parsed = make_url(url).set(drivername="postgresql")
    environment = {**os.environ, "PGPASSWORD": parsed.password or os.environ.get("PGPASSWORD", ""), "PGCONNECT_TIMEOUT": "5"}
    address = parsed.set(password=None).render_as_string(hide_password=False)
    done = subprocess.run([*command, f"--dbname={address}"], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[0]
        raise Retry(why, what=Path(command[0]).name, hint="is the server up, and does its version fit?")
