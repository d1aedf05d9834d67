"""A folder in; a real mosquitto, PostgreSQL or Redis on a free loopback port out. Each dies with the test run that started it.

`HARMATTAN_TEST_MQTT` (mqtt://127.0.0.1:1883, anonymous), `HARMATTAN_TEST_POSTGRES` (postgresql://user@host:port/database) and
`HARMATTAN_TEST_REDIS` (redis://127.0.0.1:6379/0) name servers that run already;
else Debian's own are started. A server that is not installed skips its tests, in CI it fails them.
"""

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

START_S = 20.0
ROOM_BYTES = 2 << 30
SBIN = "/usr/sbin:/sbin"
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(done: Callable[[], bool], what: str, timeout_s: float = START_S) -> None:
    """Returns as soon as `done` says so; fails the test with `what` when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.02)


def listens(port: int, host: str = "127.0.0.1") -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def absent(what: str) -> NoReturn:
    """Skips on a developer's machine; fails in CI, where a skip would hide a test for ever."""
    said = f"{what} is not installed; run scripts/setup test"
    if os.environ.get("CI"):
        pytest.fail(said)
    pytest.skip(said)


def program(name: str, *folders: Path) -> str:
    """The path of a server's program; absent() when there is none."""
    searched = [*map(str, folders), os.environ.get("PATH", ""), SBIN]
    return shutil.which(name, path=":".join(searched)) or absent(name)


def die_with_parent() -> None:
    """In the child, before exec: when the test run is killed, the kernel kills this too."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Mosquitto:
    """One mosquitto process over a configuration file; may be killed and started again on the same port."""

    def __init__(self, config: Path, port: int) -> None:
        self.config = config
        self.port = port
        self.host = "127.0.0.1"
        self.url = f"mqtt://127.0.0.1:{port}"
        self.log = config.parent / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "mosquitto is not running"
        return self._process.pid

    def start(self, timeout_s: float = START_S) -> None:
        """Returns when the port answers. One that does not come up fails the test and is not left behind."""
        command = [program("mosquitto"), "-c", str(self.config)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent)
        process = self._process
        try:
            wait_until(lambda: process.poll() is not None or listens(self.port), f"mosquitto on port {self.port}", timeout_s)
        except BaseException:
            self.kill()
            raise
        if process.poll() is not None:
            pytest.fail(f"mosquitto ended with {process.returncode}: {self.log.read_text()}")

    def reload(self) -> None:
        """HUP: accounts and ACL are read again."""
        os.kill(self.pid, signal.SIGHUP)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """kill -9, as a power cut would; nothing happens when it is down already."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def mosquitto_at(config: Path, port: int) -> Iterator[Mosquitto]:
    """A mosquitto over a configuration that names this port (as `harmattan-hub broker` writes it)."""
    server = Mosquitto(config, port)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def open_mosquitto(folder: Path, lines: Sequence[str] = ()) -> Iterator[Mosquitto]:
    """A mosquitto that anybody may use, with further configuration lines."""
    port = free_port()
    config = folder / "mosquitto.conf"
    user = pwd.getpwuid(os.geteuid()).pw_name  # else root's mosquitto becomes a user who may not read the test's folder
    own = [f"user {user}", "persistence false", "log_dest stderr", f"listener {port} 127.0.0.1", "allow_anonymous true"]
    config.write_text("\n".join([*own, *lines]) + "\n")
    with mosquitto_at(config, port) as server:
        yield server


class RunningMosquitto(Mosquitto):
    """Somebody else's server, named by HARMATTAN_TEST_MQTT: it is used, never stopped."""

    def __init__(self, url: str) -> None:
        super().__init__(Path(os.devnull), int(url.rsplit(":", 1)[1]))
        self.url = url
        self.host = url.removeprefix("mqtt://").rsplit(":", 1)[0]


class Postgres:
    """A running PostgreSQL in which each test makes its own database."""

    def __init__(self, server_url: str) -> None:
        self.server_url = server_url
        self._made = 0

    def new_database(self, template: str | None = None) -> str:
        """The postgresql:// URL of a fresh database: empty, or a copy of the one of the URL `template`."""
        import psycopg  # slow, and only these tests need it

        self._made += 1
        name = f"harmattan_test_{os.getpid()}_{self._made}"
        with psycopg.connect(self.server_url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            copied = f' TEMPLATE "{template.rsplit("/", 1)[1]}"' if template else ""
            connection.execute(f'CREATE DATABASE "{name}"{copied}')
        return f"{self.server_url.rsplit('/', 1)[0]}/{name}"

    def drop_database(self, url: str) -> None:
        import psycopg

        with psycopg.connect(self.server_url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{url.rsplit("/", 1)[1]}" WITH (FORCE)')


def in_memory() -> str | None:
    """A folder that is no disk, where there is room: a database's 300 files are copied there in a twentieth of the time."""
    shared = Path("/dev/shm")  # noqa: S108  # the folder below it is made anew, for its owner alone
    return str(shared) if os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > ROOM_BYTES else None


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Debian's PostgreSQL in a folder of its own, without fsync; as the user postgres when root runs the tests."""
    if running := os.environ.get("HARMATTAN_TEST_POSTGRES"):
        yield Postgres(running)
        return
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    initdb, postgres = program("initdb", *versions), program("postgres", *versions)
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="harmattan-pg-", dir=in_memory()) as name:
        folder = Path(name)
        if user:
            shutil.chown(folder, user, user)
        port = free_port()
        data = folder / "data"
        subprocess.run(
            [initdb, "-A", "trust", "-U", "harmattan", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", "-D", data],
            check=True, capture_output=True, user=user, group=user, extra_groups=[] if user else None, cwd=folder,
        )  # fmt: skip
        command = [postgres, "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-F"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, user=user, group=user, extra_groups=[] if user else None, cwd=folder,
                preexec_fn=die_with_parent,
            )  # fmt: skip
        try:
            server = Postgres(f"postgresql://harmattan@127.0.0.1:{port}/postgres")
            wait_until(lambda: process.poll() is not None or _answers(server.server_url), "PostgreSQL")
            if process.poll() is not None:
                pytest.fail(f"PostgreSQL ended: {(folder / 'log').read_text()}")
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # fast shutdown: open sessions are cut
            process.wait(timeout=30)


def _answers(url: str) -> bool:
    import psycopg

    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


class Redis:
    """One redis-server that keeps nothing on disk; may be killed and started again, empty, on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = self.folder / "redis.log"
        named = {"bind": "127.0.0.1", "port": self.port, "dir": self.folder, "save": "", "appendonly": "no", "logfile": log}
        command = [program("redis-server"), *(str(part) for name, value in named.items() for part in (f"--{name}", value))]
        self._process = process = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)
        wait_until(lambda: process.poll() is not None or listens(self.port), f"redis-server on port {self.port}")
        if process.poll() is not None:
            pytest.fail(f"redis-server ended with {process.returncode}: {log.read_text() if log.exists() else 'no log'}")

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """kill -9; nothing happens when it is down already."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def open_redis() -> Iterator[Redis]:
    """A redis-server of this test's own, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="harmattan-redis-") as folder:
        server = Redis(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.kill()
