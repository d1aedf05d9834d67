"""The servers that tests start: they answer, survive a kill, and keep tests apart."""

from pathlib import Path

import psycopg
import pytest

from tests.servers import Mosquitto, free_port, listens, open_mosquitto

pytestmark = pytest.mark.server


def test_a_mosquitto_answers_on_its_port(mosquitto: Mosquitto) -> None:
    assert listens(mosquitto.port, mosquitto.host)


def test_a_killed_mosquitto_comes_back_on_the_same_port(tmp_path: Path) -> None:
    with open_mosquitto(tmp_path) as server:
        server.kill()
        assert not listens(server.port)
        server.start()
        assert listens(server.port)
    assert not listens(server.port)


def test_a_mosquitto_that_does_not_come_up_in_time_is_not_left_behind(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"persistence false\nlog_dest stderr\nlistener {port} 127.0.0.1\n")
    with pytest.raises(pytest.fail.Exception, match="not within"):
        Mosquitto(config, port=free_port()).start(timeout_s=0.5)
    assert not listens(port)


def test_a_database_starts_empty(postgres: str) -> None:
    with psycopg.connect(postgres) as connection:
        assert connection.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone() == (0,)
        connection.execute("create table left_over (id integer)")


def test_the_next_database_is_another_one(postgres: str) -> None:
    test_a_database_starts_empty(postgres)
