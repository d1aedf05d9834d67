"""The migrations against the tables that the code speaks of, on SQLite and PostgreSQL alike."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, inspect, select, text, update

from hub.database import tables
from hub.database.engine import WAIT_S, Database, DatabaseAway, make_engine, open_database
from hub.database.migrate import MIGRATIONS, check, migrate, newest
from readings.errors import Retry, Stop


def test_the_migrations_make_exactly_the_tables_of_the_code(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []


def test_the_newest_version_is_known_without_alembic(migrated_file: Path) -> None:
    """Each command would pay half a second for its import."""
    script = ScriptDirectory(str(MIGRATIONS))
    assert newest() == script.get_current_head()
    code = (
        "import sys; from hub.database.current import open_current; open_current(sys.argv[1]); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, f"sqlite:///{migrated_file}"]).returncode == 0


def test_a_second_migration_changes_nothing(empty_url: str) -> None:
    migrate(empty_url)
    migrate(empty_url)
    check(empty_url)


def test_a_hub_with_gateways_and_sensors_of_the_first_version_is_brought_up_to_date(empty_url: str) -> None:
    with make_engine(empty_url).execution_options(harmattan_write=True).begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text("INSERT INTO gateway (network, name) VALUES (1, 'demo-01')"))
        connection.execute(text("INSERT INTO token (hash, gateway, expires_ms) VALUES ('00', 1, 5)"))
        connection.execute(text("INSERT INTO sensor (network, gateway, local_id) VALUES (1, 1, 'pm')"))
    migrate(empty_url)
    with make_engine(empty_url).connect() as connection:
        assert connection.execute(text("SELECT name, kind, key_hash FROM gateway")).all() == [("demo-01", "edge", None)]
        assert connection.execute(text("SELECT gateway FROM sensor")).all() == [(1,)]


def test_the_network_default_is_there_from_the_start(database: Database) -> None:
    with database.read() as connection:
        assert connection.execute(select(tables.network.c.slug)).scalars().all() == ["default"]


def test_a_database_without_tables_names_the_command(database_url: str, database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("DROP TABLE alembic_version"))
    with pytest.raises(Stop, match="harmattan-hub migrate"):
        check(database_url)


def test_a_newer_schema_is_refused_by_migrate_and_check(database_url: str, database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for ask in (migrate, check):
        with pytest.raises(Stop, match="9999"):
            ask(database_url)


def test_a_missing_sqlite_file_is_not_made_by_opening(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'none.db'}"
    for ask in (open_database, check):
        with pytest.raises(Stop, match=r"none\.db"):
            ask(url)
    assert list(tmp_path.iterdir()) == []


def test_a_sqlite_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(Stop, match="DATABASE_URL"):
        migrate(f"sqlite:///{tmp_path / 'no' / 'hub.db'}")


def test_only_the_owner_may_read_the_sqlite_file(tmp_path: Path) -> None:
    migrate(f"sqlite:///{tmp_path / 'hub.db'}")
    assert (tmp_path / "hub.db").stat().st_mode & 0o077 == 0


def test_an_unreachable_postgresql_is_tried_again() -> None:
    for ask in (migrate, check):
        with pytest.raises(Retry, match="DATABASE_URL"):
            ask("postgresql://nobody@127.0.0.1:1/nothing")


def test_the_reading_view_unfolds_a_sample(database: Database) -> None:
    with database.write() as connection:
        for idx, parameter in enumerate(["pm2_5", "pm10"]):
            row = {"parameter": parameter, "unit": "ug/m3", "exponent": -1, "ambient": True, "period_s": 0}
            connection.execute(insert(tables.channel).values(schema=7, idx=idx, **row))
        row = {"sensor": 3, "stream_no": 1, "seq": 5, "schema": 7}
        connection.execute(insert(tables.sample).values(time_ms=1000, body="[12.5,null]", flags="[1,9]", **row))
        connection.execute(insert(tables.sample).values(time_ms=2000, body="[1,20.1]", **row))
    with database.read() as connection:
        view = tables.reading.c
        found = connection.execute(select(tables.reading).order_by(view.time_ms, view.parameter.desc())).all()
    assert [tuple(row) for row in found] == [
        (3, 1000, "pm2_5", "ug/m3", 12.5, 1),
        (3, 1000, "pm10", "ug/m3", None, 9),
        (3, 2000, "pm2_5", "ug/m3", 1.0, 1),
        (3, 2000, "pm10", "ug/m3", 20.1, 1),
    ]


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    with suppress(KeyError), database.write() as connection:
        connection.execute(insert(tables.network).values(slug="half"))
        raise KeyError
    with database.read() as connection:
        assert connection.execute(select(tables.network.c.slug)).scalars().all() == ["default"]


def test_a_locked_sqlite_file_is_a_database_that_is_away(sqlite_database: Database, tmp_path: Path) -> None:
    other = open_database(f"sqlite:///{tmp_path / 'hub.db'}", busy_ms=50)
    with sqlite_database.write(), pytest.raises(DatabaseAway, match="locked"), other.write():
        pass
    with other.write() as connection:
        connection.execute(update(tables.network).values(slug="free again"))
    other.close()


@pytest.mark.server
def test_a_locked_postgresql_table_is_a_database_that_is_away(postgres: str) -> None:
    database = open_database(postgres, create=True)
    with database.write() as holder:
        holder.execute(text("LOCK TABLE network IN ACCESS EXCLUSIVE MODE"))
        with database.read() as connection:
            assert connection.execute(text("SHOW lock_timeout")).scalar() == f"{WAIT_S}s"
        with pytest.raises(DatabaseAway, match="lock timeout"), database.write() as waiting:
            waiting.execute(text("SET LOCAL lock_timeout = '50ms'; UPDATE network SET slug = 'never'"))
    database.close()


def test_the_incarnation_stays_until_a_bridge_takes_the_sqlite_file(sqlite_database: Database) -> None:
    sqlite_database.take()
    first = sqlite_database.incarnation()
    assert sqlite_database.incarnation() == first
    sqlite_database.take()
    assert sqlite_database.incarnation() != first


@pytest.mark.server
def test_two_postgresql_databases_have_two_incarnations(postgres: str) -> None:
    database = open_database(postgres, create=True)
    first = database.incarnation()
    database.take()
    assert database.incarnation() == first
    with database.write() as connection:
        connection.execute(text("UPDATE meta SET value = 'restored' WHERE key = 'marker'"))
    database.close()
    again = open_database(postgres)
    assert again.incarnation() != first
    again.close()


def test_every_table_has_a_primary_key_or_says_why_not(sqlite_database: Database) -> None:
    inspector = inspect(sqlite_database.engine)
    without = {name for name in inspector.get_table_names() if not inspector.get_pk_constraint(name)["constrained_columns"]}
    assert without == {"waiting"}, "waiting is a list: several rows may wait for one thing"
