"""A backup of a running hub put back later: nothing is lost or stored twice once the gateways have spoken; old ids stay old."""

import json
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from hub.auth.secrets import hub_secret
from hub.database import tables
from hub.database.engine import Database, open_database
from hub.fleet import broker
from hub.followers.runner import Followers
from hub.front.backup import RAISED, backup, restore
from hub.front.ledger import DAY_MS
from hub.front.log import Front
from hub.settings import Settings, load
from readings.errors import Stop
from readings.ranges import Ranges
from tests.hub.field import Gateway, content, enrol, store


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    made = load({"DATA_DIR": str(tmp_path / "data"), "DATABASE_URL": database_url})
    hub_secret(made.data_dir)
    broker.write(made.broker, 1883)
    broker.keep_account(made.data_dir, broker.HubAccount("mqtt://127.0.0.1:1883", "hub", "x"))
    return made


@pytest.fixture
def gateway() -> Gateway:
    made = Gateway()
    made.start()
    made.schema()
    made.samples(38)
    return made


def opened(settings: Settings) -> tuple[Database, Front]:
    """As a hub that starts."""
    database = open_database(settings.database)
    database.take()
    return database, Front(database)


def follow(database: Database, settings: Settings) -> None:
    Followers(database, settings, Nowhere()).catch_up()


class Nowhere:
    connections = 0

    def publish(self, topic: str, payload: bytes) -> None:
        raise AssertionError("nobody is connected")


def seqs(database: Database) -> list[int]:
    with database.read() as connection:
        return list(connection.execute(select(tables.sample.c.seq).order_by(tables.sample.c.seq)).scalars())


def test_rows_that_came_after_the_backup_come_again_and_once(settings: Settings, gateway: Gateway, tmp_path: Path) -> None:
    database, front = opened(settings)
    enrol(database, "demo-01")
    store(front, gateway.came(1, 20))
    follow(database, settings)
    backup(settings, tmp_path / "backup", now_ms() - DAY_MS)
    store(front, gateway.came(21, 30))
    follow(database, settings)
    before = database.incarnation()
    newest = {name: max(row[0] for row in content(database, name)[name]) for name in ("batch", "ready", "schema", "sensor")}
    database.close()
    restore(settings, tmp_path / "backup", now_ms())

    database, front = opened(settings)
    assert database.incarnation() != before, "every gateway says hello"
    answer = front.answer("demo-01", gateway.hello())
    assert answer is not None
    assert answer.held == {gateway.stream: [(1, 20)]}
    other = Gateway("demo-01", "00000000000000b2")
    other.start()
    other.schema("other")
    assert [o.what for o in store(front, gateway.came(15, 40), other.came())] == ["stored", "stored"]
    follow(database, settings)
    assert seqs(database) == list(range(3, 41)), "each sample once"
    for name, id_before in newest.items():
        ids = [row[0] for row in content(database, name)[name]]
        assert max(ids) > id_before, name
        assert max(ids) > RAISED, f"{name}: an id of after the restore is none that was drawn before"
    with database.read() as connection:
        numbers = connection.execute(select(tables.held.c.no).order_by(tables.held.c.no)).scalars().all()
    assert numbers[0] == 1
    assert numbers[1] > RAISED
    database.close()


def test_a_backup_holds_keys_and_accounts_readable_by_their_owner_only(settings: Settings, tmp_path: Path) -> None:
    kept = [settings.data_dir / "keys" / "hub-secret", settings.data_dir / "broker.json", settings.broker / "passwords"]
    before = [path.read_bytes() for path in kept]
    folder = tmp_path / "backup"
    made = backup(settings, folder, now_ms())
    assert {"keys/hub-secret", "broker.json", "broker/passwords"} <= made.files.keys()
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o600}
    for path in kept:
        path.unlink()
    restore(settings, folder, now_ms())
    assert [path.read_bytes() for path in kept] == before
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}
    with pytest.raises(Stop, match="is not empty"):
        backup(settings, folder, now_ms())


def test_a_backup_that_gateways_no_longer_wait_for_is_refused_without_force(settings: Settings, tmp_path: Path) -> None:
    backup(settings, tmp_path / "old", now_ms() - 9 * DAY_MS)
    with pytest.raises(Stop, match="9 days old"):
        restore(settings, tmp_path / "old", now_ms())
    restore(settings, tmp_path / "old", now_ms(), force=True)


def test_a_backup_that_is_not_whole_is_refused(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    backup(settings, folder, now_ms())
    (folder / "broker.json").write_text("{}")
    with pytest.raises(Stop, match=r"broker\.json is missing or damaged"):
        restore(settings, folder, now_ms(), force=True)
    (folder / "backup.json").unlink()
    with pytest.raises(Stop, match="no whole backup"):
        restore(settings, folder, now_ms(), force=True)


def test_a_hub_that_runs_is_not_restored_over(settings: Settings, tmp_path: Path) -> None:
    import fcntl

    backup(settings, tmp_path / "backup", now_ms())
    database = open_database(settings.database)
    with database.read(), (settings.data_dir / "bridge.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Stop, match="stop the hub first"):
            restore(settings, tmp_path / "backup", now_ms())
    database.close()


def test_a_backup_is_noted_and_holds_back_what_is_safe(settings: Settings, gateway: Gateway, tmp_path: Path) -> None:
    database, front = opened(settings)
    enrol(database, "demo-01")
    store(front, gateway.came(1, 20))
    begin = now_ms() - 40 * DAY_MS
    for day in range(40):
        front.copies.make(lambda day=day: begin + day * DAY_MS)  # type: ignore[misc]
    with database.read_cursor() as cursor:
        assert front.copies.safe(cursor, 1, [gateway.stream], now_ms()) == {gateway.stream: Ranges([[1, 20]])}
    backup(settings, tmp_path / "backup", begin)
    with database.read_cursor() as cursor:
        cursor.execute("SELECT value FROM meta WHERE key = 'backups'")
        assert json.loads(cursor.fetchone()[0]) == [begin]
    database.close()


def test_a_file_put_in_place_under_a_running_hub_is_noticed(sqlite_database: Database, migrated_file: Path) -> None:
    import shutil

    path = Path(sqlite_database.engine.url.database or "")
    sqlite_database.take()
    assert not sqlite_database.replaced()
    shutil.copy(migrated_file, path.with_suffix(".older"))
    path.with_suffix(".older").replace(path)
    assert sqlite_database.replaced()
