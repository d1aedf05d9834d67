"""Settings and role names in; a running hub out: one process does all roles by default, each may run alone.

api answers HTTP; bridge takes from the broker; follower makes samples, latest values and telemetry from the log; worker does the
hourly jobs; poller has nothing to do yet and idles. Every process answers /health, /ready and /metrics on METRICS_BIND.
"""

import errno
import fcntl
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import time_ns
from typing import Any

import uvicorn
from sqlalchemy import text

from hub.app import create_app
from hub.auth import setup
from hub.auth.secrets import hub_secret
from hub.context import Condition, Context
from hub.database.current import open_current
from hub.fleet.enrolment import keys, note_keys
from hub.followers.runner import Followers
from hub.front.bridge import Bridge
from hub.http.deadline import Deadline
from hub.http.health import operation_app
from hub.http.traffic import Traffic
from hub.settings import Settings
from hub.worker import Worker
from readings.errors import Retry, Stop, Trouble

log = logging.getLogger("hub")
GRACE_S = 3
"""How long open requests may take after SIGTERM."""
JOIN_S = 5.0
STANDBY_S = 2.0
SINGLETONS = ("bridge", "follower", "worker")
LOCKS = {"follower": 0x4861726D_0002, "worker": 0x4861726D_0005}
"""PostgreSQL: the advisory lock of a role that one process of all has; bridges share their work instead."""
Work = Callable[[threading.Event], None]


class Taken(Retry):
    """A port, or a role that only one process may have, is somebody else's."""

    exit_code = 1


def run(settings: Settings, roles: Sequence[str]) -> None:
    """Until SIGTERM or SIGINT. Raises Stop and Retry before anything is started: settings, database, ports, locks."""
    logged(settings.log_level)
    with ExitStack() as stack:
        sockets = {name: stack.enter_context(listening(name, at)) for name, at in _binds(settings, roles).items()}
        context = Context(settings, open_current(settings.database), tuple(roles))
        stack.callback(context.database.close)
        if context.database.dialect == "sqlite":
            for role in SINGLETONS:
                if role in roles:
                    stack.enter_context(_alone(settings.data_dir / f"{role}.lock", role))
        if "api" in roles:
            note_keys(context.database, hub_secret(settings.data_dir))
            _offer_setup(context)
        context.conditions["database"] = lambda: _database(context)
        traffic = Traffic()
        app = create_app(context, traffic) if "api" in roles else None
        parts = [Part(name, work, context.stop) for name, work in _work(context).items()]
        operation = Server(operation_app(context, traffic), settings)
        parts.append(Part("operation", lambda _: operation.run([sockets["METRICS_BIND"]]), context.stop))
        told = " ".join(f"{name.removesuffix('_BIND').lower()}={_at(settings, name)}" for name in sockets)
        log.info("hub started roles=%s %s pid=%d", ",".join(roles), told, os.getpid())
        if app is not None:
            Server(app, settings, ending=app.state.live.close).run([sockets["HTTP_BIND"]])
        else:
            _until_signal(context.stop)
        context.stop.set()
        context.database.bell.ring()
        operation.should_exit = True
        for part in parts:
            part.join(JOIN_S)
            if part.is_alive():
                log.warning("hub ends without waiting for part=%s", part.name)
        if dead := [part.name for part in parts if part.died]:
            raise Retry("it died; the log says why", what=f"part {', '.join(dead)}", hint="start the hub again")
        log.info("hub stopped")


def check(settings: Settings) -> Iterator[tuple[str, Condition]]:
    """Database and broker, tried once each."""
    from hub.database.migrate import check as check_tables

    try:
        check_tables(settings.database)
        yield "database", Condition(True)
    except Trouble as error:
        yield "database", Condition(False, str(error))
    yield "broker", _try_broker(settings)


class Server(uvicorn.Server):
    """uvicorn over a socket that is open already. It ends by SIGTERM or SIGINT with exit code 0; `ending` frees open streams."""

    def __init__(
        self, app: Any, settings: Settings, ending: Callable[[], None] = lambda: None, protocol: type[Deadline] = Deadline
    ) -> None:
        proxies = list(settings.trusted_proxies)
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # hub.http.client reads them
                forwarded_allow_ips=proxies,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._ending = ending

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but a signal that ended us is not raised again: we still have threads to join."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ending()
        await super().shutdown(sockets)


def logged(level: str) -> None:
    """Events with fields on stderr; libraries only when they warn."""
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )
    logging.addLevelName(logging.INFO, "info")
    logging.addLevelName(logging.WARNING, "warning")
    logging.addLevelName(logging.ERROR, "error")
    logging.addLevelName(logging.DEBUG, "debug")
    for name in ("hub", "adapters"):
        logging.getLogger(name).setLevel(level.upper())


def _offer_setup(context: Context) -> None:
    """A hub without an admin says how to make the first: to who reads its stderr or its DATA_DIR, and to nobody else."""
    settings = context.settings
    if token := setup.offer(context.database, settings.data_dir, time_ns() // 1_000_000):
        said = f"harmattan-hub: there is no admin yet; make one, once, at {settings.url}/#/setup?token={token}"
        print(f"{said} (the token is in {settings.data_dir / setup.FILE} too)", file=sys.stderr, flush=True)


def _work(context: Context) -> Mapping[str, Work]:
    """The threads of this process's roles; each part's state is asked by /ready."""
    settings, database = context.settings, context.database
    work: dict[str, Work] = {}
    if database.dialect == "postgresql" and {"api", "follower"} & set(context.roles):
        work["hear"] = database.hear  # commits of other processes wake those who wait here
    if "bridge" in context.roles:
        bridge = Bridge(settings, database, keys(database, hub_secret(settings.data_dir)))
        context.conditions["bridge"] = lambda: _condition(bridge.state())
        work["bridge"] = bridge.run
    if "follower" in context.roles:
        followers = Followers(database, settings)
        context.conditions["follower"] = lambda: _condition(followers.state())
        work["follower"] = _single(context, "follower", followers.run)
    if "worker" in context.roles:
        worker = Worker(database)
        context.conditions["worker"] = lambda: _condition(worker.state())
        work["worker"] = _single(context, "worker", worker.run)
    return work


def _condition(state: Mapping[str, Any]) -> Condition:
    facts = {name: value for name, value in state.items() if name not in ("ok", "why")}
    lag = facts.pop("lag", {})
    return Condition(bool(state["ok"]), str(state["why"]), facts | {f"lag_{name}": value for name, value in lag.items()})


def _database(context: Context) -> Condition:
    try:
        with context.database.read() as connection:
            connection.execute(text("SELECT 1"))
        return Condition(True)
    except Trouble as error:
        return Condition(False, error.why)


def _single(context: Context, role: str, work: Work) -> Work:
    """The work of one process of all: on SQLite whoever runs it has the role's lock file already."""
    if context.database.dialect == "sqlite":
        return work
    return lambda stop: _standby(context, role, work, stop)


def _standby(context: Context, role: str, work: Work, stop: threading.Event) -> None:
    """PostgreSQL: works while it holds the advisory lock, else waits for it."""
    while not stop.is_set():
        try:
            with context.database.engine.connect() as connection:
                if connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LOCKS[role]}).scalar():
                    connection.commit()
                    work(stop)
        except Exception:  # outermost loop: a lost connection must not end the role
            log.exception("%s lost its lock", role)
        stop.wait(STANDBY_S)


@contextmanager
def _alone(path: Path, role: str) -> Iterator[None]:
    """SQLite: this process alone has a role. Raises Taken naming who has it."""
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            hint = "stop that one first, or name other roles: harmattan-hub run api"
            raise Taken(f"process {owner} has this role on the same data", what=f"role {role}", hint=hint) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _binds(settings: Settings, roles: Sequence[str]) -> dict[str, tuple[str, int]]:
    return ({"HTTP_BIND": settings.http_bind} if "api" in roles else {}) | {"METRICS_BIND": settings.metrics_bind}


def _at(settings: Settings, name: str) -> str:
    host, port = settings.http_bind if name == "HTTP_BIND" else settings.metrics_bind
    return f"{host}:{port}"


@contextmanager
def listening(name: str, at: tuple[str, int]) -> Iterator[socket.socket]:
    """A socket that listens. Raises Taken naming the port and, where it can be seen, whose it is."""
    host, port = at
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, or asyncio leaves Nagle on and each answer waits 40 ms for the asker's ACK.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind(at)
            opened.listen(1024)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                owner = listener(port)
                by = f" by process {owner}" if owner else ""
                raise Taken(f"port {port} of {host} is in use{by}", what=name, hint=f"stop that, or set {name}") from error
            raise Stop(f"{host}:{port} cannot be bound: {error.strerror}", what=name, hint=f"set {name}") from error
        opened.setblocking(False)
        yield opened


def listener(port: int) -> int | None:
    """The process that listens on a TCP port, as far as /proc lets us see."""
    wanted = f":{port:04X}"
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        rows = (line.split() for line in Path(table).read_text().splitlines()[1:]) if Path(table).exists() else ()
        inodes |= {f"socket:[{row[9]}]" for row in rows if row[1].endswith(wanted) and row[3] == "0A"}
    for folder in Path("/proc").glob("[0-9]*/fd") if inodes else ():
        try:
            if any(os.readlink(link) in inodes for link in folder.iterdir()):
                return int(folder.parent.name)
        except OSError:
            continue  # it ended, or is not ours to look at
    return None


class Part(threading.Thread):
    """One role's thread. When it dies, so does the process: a supervisor starts it anew, a silent half would go unseen."""

    def __init__(self, name: str, work: Work, stop: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self.died = False
        self._work = work
        self._end = stop
        self.start()

    def run(self) -> None:
        try:
            self._work(self._end)
        except BaseException:
            self.died = True
            log.exception("part died name=%s", self.name)
            os.kill(os.getpid(), signal.SIGTERM)


def _until_signal(stop: threading.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while not stop.wait(1.0):
        pass


def _try_broker(settings: Settings) -> Condition:
    from adapters.transport.mqtt import Client
    from hub.front.broker_account import broker_account

    told = threading.Event()
    why = ["it does not answer"]

    def lost(reason: str) -> None:
        why[0] = reason
        told.set()

    try:
        account = broker_account(settings)
        client = Client(
            account.url,
            client_id=f"hub-check-{os.getpid()}",
            username=account.user,
            password=account.password,
            on_connected=told.set,
            on_disconnected=lost,
        )
        client.start()
        told.wait(JOIN_S)
        good = client.connected
        client.stop()
    except Trouble as error:
        return Condition(False, str(error))
    return Condition(good, "" if good else f"{account.url}: {why[0]}")
