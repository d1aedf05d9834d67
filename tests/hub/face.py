"""A real hub face over a real SQLite file: uvicorn in a thread on a free port, fed through the front as a bridge would."""

import secrets
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import time_ns
from typing import Any

import httpx2
import pytest
from sqlalchemy import insert

from hub.app import create_app
from hub.auth.passwords import Hasher
from hub.auth.tokens import Caller, NetworkRole, Role
from hub.context import Context
from hub.database import tables
from hub.database.engine import Database, open_database
from hub.fleet import broker
from hub.followers.runner import Followers
from hub.front.log import Front
from hub.http.deadline import Deadline
from hub.http.exchange import Deadlines
from hub.http.traffic import Traffic
from hub.roles import Server, listening
from hub.settings import Settings
from tests import shape
from tests.hub.field import Gateway, enrol, store
from tests.servers import free_port, wait_until

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
SITE = {"name": "UNILAG gate", "lat": 6.51581, "lon": 3.38982, "alt_m": 12, "zone": "Africa/Lagos"}


def now_ms() -> int:
    return time_ns() // 1_000_000


class Face:
    """`get`, `post`: requests. `feed`: what a gateway sends, followed to its end."""

    def __init__(
        self, settings: Settings, database: Database, port: int, deadlines: Deadlines, hasher: Hasher | None = None
    ) -> None:
        self.settings = settings
        self.database = database
        self.context = Context(settings, database, ("api",))
        self.traffic = Traffic()
        self.app = create_app(self.context, self.traffic, deadlines=deadlines, hasher=hasher or Hasher(memory_kib=8, passes=1))
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx2.Client(base_url=self.url, timeout=10)
        self.front = Front(database)
        self.followers = Followers(database, settings)

    def get(self, path: str, token: str | None = None, **named: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.http.get(path, headers=headers | named.pop("headers", {}), **named)

    def token(self, role: Role = Role.ADMIN, networks: tuple[int, ...] | None = None, life_s: int = 60) -> str:
        """A token of nobody in particular: admin of these networks or of all, or a viewer."""
        within = NetworkRole.ADMIN if role is Role.ADMIN else NetworkRole.VIEWER
        rights = None if networks is None else dict.fromkeys(networks, within)
        return str(self.app.state.tokens.sign(Caller("test", role, rights), life_s=life_s))

    def person(
        self,
        email: str,
        *,
        role: Role = Role.AUTHENTICATED,
        networks: Mapping[int, NetworkRole] | None = None,
        password: str | None = None,
    ) -> str:
        """A person with an account, signed in just now: the access token of their session. `networks`: their role in each."""
        at, named, sid = now_ms(), email.partition("@")[0], secrets.token_hex(16)
        values = {"email": email, "name": named, "role": role.value, "password": password, "created_ms": at, "verified_ms": at}
        with self.database.write() as connection:
            made = connection.execute(insert(tables.account).values(values)).inserted_primary_key
            account = int(made[0])  # type: ignore[index]  # an insert of one row has one key
            lasting = {"created_ms": at, "seen_ms": at, "expires_ms": at + DAY_MS}
            connection.execute(insert(tables.session).values(id=sid, account=account, **lasting))
            for network, within in (networks or {}).items():
                connection.execute(insert(tables.membership).values(account=account, network=network, role=within.value))
        return str(self.app.state.tokens.sign(Caller(named, role, {}, account=account, session=sid)))

    def enrol(self, *names: str) -> None:
        enrol(self.database, *names)

    def feed(self, gateway: Gateway, lo: int = 1, received_ms: int | None = None) -> None:
        store(self.front, gateway.came(lo, received_ms=now_ms() if received_ms is None else received_ms))
        self.followers.catch_up()

    def station(self, name: str = "unilag-01", site: dict[str, Any] | None = None, samples: int = 0) -> Gateway:
        """An enrolled gateway with one PMS5003 `pm`, and a sample a minute up to now."""
        self.enrol(name)
        gateway = Gateway(name, stream=f"{sum(name.encode()):016x}")
        begun = now_ms() - samples * MINUTE_MS
        gateway.start(SITE | {"name": name} if site is None else site, at_ms=begun)
        gateway.schema()
        gateway.samples(0)
        for minute in range(samples):
            gateway.sample([12 + minute % 7, 315 + minute, 2150], begun + minute * MINUTE_MS)
        self.feed(gateway)
        return gateway


@contextmanager
def open_face(
    template: Path,
    folder: Path,
    *,
    protocol: type[Deadline] = Deadline,
    deadlines: Deadlines | None = None,
    hasher: Hasher | None = None,
    **settings: Any,
) -> Iterator[Face]:
    """A running face over a copy of a migrated file, over this run's servers, or over the database that `database_url` names.

    Passwords are hashed cheaply unless a `hasher` is given: what is tested with them is not how long they take.
    """
    own = "database_url" not in settings
    if own:
        settings = {**shape.settings_of(folder), **settings}
    if "database_url" not in settings:
        shutil.copy(template, folder / "hub.db")
    settings = {"rate_limit_address": None, "rate_limit_key": None, **settings}  # but where a test is about them
    port = free_port()
    made = Settings(data_dir=folder, http_bind=("127.0.0.1", port), **settings)
    broker.write(made.broker, 1883)
    database = open_database(made.database, create=not own)
    face = Face(made, database, port, deadlines or Deadlines(), hasher)
    with listening("HTTP_BIND", made.http_bind) as opened:
        server = Server(face.app, made, ending=face.app.state.live.close, protocol=protocol)
        thread = threading.Thread(target=server.run, args=([opened],), daemon=True)
        thread.start()
        wait_until(lambda: server.started, "the face")
        yield face
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive(), "the face did not stop"
    face.http.close()
    database.close()
    if own:
        shape.drop(folder)


def problem(answer: httpx2.Response, status: int, name: str) -> dict[str, Any]:
    """The document of a problem answer of this kind."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    said: dict[str, Any] = answer.json()
    assert (said["type"], said["status"], said["instance"]) == (f"/problems/{name}", status, answer.headers["x-request-id"])
    return said


@pytest.fixture(scope="session")
def migrated() -> Path:
    """A migrated SQLite file that tests copy: a migration takes longer than most of them."""
    return shape.migrated_file()


@pytest.fixture
def face(migrated: Path, tmp_path: Path) -> Iterator[Face]:
    """A running HTTP face with nothing in its database."""
    with open_face(migrated, tmp_path) as running:
        yield running
