"""Processes on one PostgreSQL hear of each other's commits at once, whatever roles they have."""

import threading

import pytest

from hub.context import Context
from hub.database.engine import Database, open_database
from hub.front.log import Front
from hub.roles import _work
from hub.settings import Settings
from tests.hub.field import Gateway, enrol
from tests.servers import wait_until

pytestmark = pytest.mark.server


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_commit_of_another_process_rings_the_bell_of_an_api_alone(database: Database, database_url: str) -> None:
    enrol(database, "demo-01")
    gateway = Gateway()
    gateway.start()
    api = open_database(database_url)
    work = _work(Context(Settings(database_url=database_url), api, ("api",)))
    assert list(work) == ["hear"]
    stop = threading.Event()
    hearing = threading.Thread(target=work["hear"], args=(stop,))
    hearing.start()
    wait_until(lambda: api.bell.rung > 0, "it listens")
    before = api.bell.rung
    Front(database).store([gateway.came()])
    wait_until(lambda: api.bell.rung > before, "the bell")
    stop.set()
    hearing.join(10)
    assert not hearing.is_alive()
    api.close()
