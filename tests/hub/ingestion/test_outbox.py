"""A card pulled from a dead gateway: its rows come in through the front, each once, whatever the card has lost."""

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select

from hub.database import tables
from hub.database.engine import Database
from hub.front.log import Front
from hub.ingestion.outbox import Imported, import_outbox
from readings.errors import Stop
from readings.row import canonical, crc
from tests.hub.field import Gateway, enrol, store


@pytest.fixture
def gateway() -> Gateway:
    made = Gateway()
    made.start()
    made.schema()
    made.samples(1198)
    return made


def card(path: Path, *gateways: Gateway) -> Path:
    """What a daemon leaves on its card, the newest rows in the WAL."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE stream(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, previous TEXT)")
    row = "stream INTEGER NOT NULL, seq INTEGER NOT NULL, raw BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY(stream, seq)"
    connection.execute(f"CREATE TABLE row({row}) WITHOUT ROWID")
    for number, one in enumerate(gateways, 1):
        connection.execute("INSERT INTO stream(id, name) VALUES (?, ?)", (number, one.stream))
        raws = [canonical(row) for row in one.rows]
        connection.executemany(
            "INSERT INTO row VALUES (?, ?, ?, ?)", [(number, seq, raw, crc(raw)) for seq, raw in enumerate(raws, 1)]
        )
    connection.commit()
    pulled = path.with_name("pulled.db")
    shutil.copy(path, pulled)
    shutil.copy(f"{path}-wal", f"{pulled}-wal")
    connection.close()
    return pulled


def rows(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(select(func.sum(tables.batch.c.n))).scalar_one())


def test_the_rows_of_a_pulled_card_are_stored_once(database: Database, gateway: Gateway, tmp_path: Path) -> None:
    enrol(database, "demo-01", "demo-02")
    store(Front(database), gateway.came(1, 100))
    file = card(tmp_path / "outbox.db", gateway)
    assert import_outbox(database, file) == ("demo-01", Imported(1100, 100, 0))
    assert import_outbox(database, file) == ("demo-01", Imported(0, 1200, 0))


def test_a_raw_export_is_imported_past_its_damage(one_database: Database, gateway: Gateway, tmp_path: Path) -> None:
    enrol(one_database, "demo-01")
    parts = [gateway.message(lo, lo + 99) for lo in range(1, 1200, 100)]
    parts[3] = parts[3][:80] + bytes([parts[3][80] ^ 1]) + parts[3][81:]
    file = tmp_path / "rows.hm"
    file.write_bytes(b"".join(parts) + parts[0][:50])
    with pytest.raises(Stop, match="none of its streams"):
        import_outbox(one_database, file)
    assert import_outbox(one_database, file, "demo-01") == ("demo-01", Imported(1100, 0, 2))


def test_a_damaged_row_of_a_card_is_left_out_and_counted(one_database: Database, gateway: Gateway, tmp_path: Path) -> None:
    enrol(one_database, "demo-01")
    file = card(tmp_path / "outbox.db", gateway)
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE row SET crc = crc + 1 WHERE seq IN (10, 700)")
    connection.close()
    assert import_outbox(one_database, file, "demo-01") == ("demo-01", Imported(1198, 0, 2))
    assert rows(one_database) == 1198


def test_what_is_no_outbox_is_refused_by_the_command(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("time,pm2_5\n")
    environment = {**os.environ, "DATA_DIR": str(tmp_path / "data")}
    for words, code, said in (
        (["outbox", "x.csv"], 2, "is neither an outbox nor a raw export"),
        (["csv", "x.csv"], 2, "not in this version"),
        (["outbox", "none.db"], 2, "cannot be read"),
    ):
        command = [sys.executable, "-m", "hub", "import", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment | {"PYTHONPATH": os.getcwd()}, capture_output=True, text=True
        )
        assert done.returncode == code, done.stderr
        assert said in done.stderr
