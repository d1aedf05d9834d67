"""A real hub, killed while and after rows are posted: what it answered is there, and sent again it is a duplicate."""

import json
import secrets
import shutil
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import sleep

import httpx2
import pytest
from sqlalchemy import insert

from hub.auth.callers import key_hash
from hub.database import tables
from hub.database.engine import open_database
from hub.front.posts import reindex
from tests.hub.face import migrated, now_ms
from tests.hub.field import content
from tests.hub.ingestion.test_ingest import row
from tests.hub.test_roles import Hub, running

pytestmark = pytest.mark.server
__all__ = ["migrated"]
ROWS = 4_000


@pytest.fixture
def key(migrated: Path, tmp_path: Path) -> str:
    """A key of the gateway in the database that the hub will open."""
    shutil.copy(migrated, tmp_path / "hub.db")
    made, database = secrets.token_hex(32), open_database(f"sqlite:///{tmp_path / 'hub.db'}")
    with database.write() as connection:
        connection.execute(insert(tables.gateway).values(network=1, name="unilag-01", enrolled_ms=1))
        values = {"hash": key_hash(made), "hint": "", "name": "test", "gateway": 1, "scopes": "ingest", "created_ms": now_ms()}
        connection.execute(insert(tables.api_key).values(values))
    database.close()
    return made


def post(hub: Hub, key: str, rows: Sequence[object]) -> dict[str, int]:
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    answer = httpx2.post(f"{hub.url}/api/v1/ingest", content=json.dumps(rows), headers=headers, timeout=60)
    counts: dict[str, int] = answer.raise_for_status().json()["counts"]
    return counts


def test_what_was_answered_survives_a_kill_and_a_lost_answer_is_sent_again(key: str, tmp_path: Path) -> None:
    rows = [row(n) for n in range(ROWS)]
    database_url = {"DATABASE_URL": f"sqlite:///{tmp_path / 'hub.db'}"}
    with running(tmp_path, "api", **database_url) as hub:
        assert post(hub, key, rows[:1000])["stored"] == 1000
        hub.ended(signal.SIGKILL)
    told: list[dict[str, int]] = []

    def blindly(hub: Hub) -> None:
        with suppress(httpx2.HTTPError):  # killed before it answered: nobody knows what was stored
            told.append(post(hub, key, rows))

    with running(tmp_path, "api", **database_url) as hub:
        thread = threading.Thread(target=blindly, args=(hub,))
        thread.start()
        sleep(secrets.randbelow(1000) / 1000)  # anywhere in the post
        hub.ended(signal.SIGKILL)
        thread.join()
    assert all(one == {"stored": ROWS - 1000, "duplicate": 1000, "revised": 0, "refused": 0} for one in told)
    with running(tmp_path, "api", "follower", **database_url) as hub:
        last = post(hub, key, rows)
        assert last["duplicate"] in (1000, ROWS)  # a post is one transaction
        assert last["stored"] + last["duplicate"] == ROWS
        assert post(hub, key, rows) == {"stored": 0, "duplicate": ROWS, "revised": 0, "refused": 0}
    database = open_database(database_url["DATABASE_URL"])
    before = content(database, "json_row")
    assert reindex(database) == ROWS == len(before["json_row"])
    assert content(database, "json_row") == before
    database.close()
