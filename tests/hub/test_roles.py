"""A hub as a process: what it needs, what it refuses, how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import httpx2
import pytest

from hub.database.engine import open_database
from hub.fleet import broker
from hub.fleet.enrolment import invite
from tests import shape
from tests.servers import die_with_parent, free_port, mosquitto_at, wait_until

pytestmark = pytest.mark.server  # each starts at least one hub, of two seconds' CPU


class Hub:
    """A running `harmattan-hub run`."""

    def __init__(self, folder: Path, *roles: str, **settings: str) -> None:
        self.port, self.metrics = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        binds = {"HTTP_BIND": f"127.0.0.1:{self.port}", "METRICS_BIND": f"127.0.0.1:{self.metrics}"}
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        self.environment = kept | {"DATA_DIR": str(folder), "MQTT_URL": "mqtt://127.0.0.1:9"} | binds
        self.environment |= shape.environment_of(folder) | settings
        self.log = folder / f"log-{self.port}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hub", "run", *roles], env=self.environment, stderr=log, preexec_fn=die_with_parent
            )

    def started(self) -> "Hub":
        wait_until(lambda: "hub started" in self.log.read_text() or self.process.poll() is not None, "the hub")
        assert self.process.poll() is None, self.log.read_text()
        wait_until(lambda: _answers(self.metrics), "the hub's /health")
        return self

    def ended(self, signal_number: int = signal.SIGTERM) -> float:
        """Seconds from the signal to the end."""
        begun = monotonic()
        self.process.send_signal(signal_number)
        self.process.wait(15)
        return monotonic() - begun

    def ready(self) -> tuple[int, dict[str, Any]]:
        answer = httpx2.get(f"http://127.0.0.1:{self.metrics}/ready")
        return answer.status_code, answer.json()["parts"]


def _answers(port: int) -> bool:
    try:
        return bool(httpx2.get(f"http://127.0.0.1:{port}/health").status_code == 200)
    except httpx2.HTTPError:
        return False


@contextmanager
def running(folder: Path, *roles: str, **settings: str) -> Iterator[Hub]:
    hub = Hub(folder, *roles, **settings)
    try:
        yield hub.started()
    finally:
        if hub.process.poll() is None:
            hub.process.kill()
        hub.process.wait()


def refused(folder: Path, *roles: str, **settings: str) -> tuple[int, str]:
    hub = Hub(folder, *roles, **settings)
    code = hub.process.wait(30)
    lines = hub.log.read_text().splitlines()
    assert lines[-1].startswith("harmattan-hub: "), lines
    return code, lines[-1]


def test_a_hub_without_a_broker_serves_and_says_in_ready_what_is_missing(tmp_path: Path) -> None:
    with running(tmp_path) as hub:
        assert httpx2.get(f"{hub.url}/api/v1/stations").json()["results"] == []
        assert httpx2.get(f"{hub.url}/health").status_code == 200
        status, parts = hub.ready()
        assert status == 503
        assert "broker" in parts["bridge"]["why"]
        assert parts["database"]["ok"]
        assert httpx2.get(f"{hub.url}/ready").status_code == 503


def test_a_hub_without_an_admin_prints_a_set_up_link_until_it_is_used(tmp_path: Path) -> None:
    with running(tmp_path, "api") as hub:
        said = re.search(r"/#/setup\?token=(\S+) \(the token is in (\S+) too\)", hub.log.read_text())
        assert said is not None
        assert (tmp_path / "setup-token").read_text() == said[1]
        body = {"token": said[1], "email": "ada@example.org", "password": "dust over nine bridges", "name": "Ada"}
        assert httpx2.post(f"{hub.url}/api/v1/auth/setup", json=body).status_code == 201
    with running(tmp_path, "api") as hub:
        assert "setup" not in hub.log.read_text()


def test_metrics_are_on_their_own_address_only(tmp_path: Path) -> None:
    with running(tmp_path) as hub:
        httpx2.get(f"{hub.url}/api/v1/stations")
        text = httpx2.get(f"http://127.0.0.1:{hub.metrics}/metrics").text
        assert 'harmattan_part_ok{part="bridge"} 0' in text
        assert 'harmattan_http_requests_total{method="GET",route="/api/v1/stations",status="200"} 1' in text
        assert "harmattan_part_ok" not in httpx2.get(f"{hub.url}/metrics").text


def test_sigterm_ends_the_hub_within_seconds_with_streams_open(tmp_path: Path) -> None:
    with running(tmp_path) as hub, httpx2.stream("GET", f"{hub.url}/api/v1/live", timeout=20) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "retry: 2000"
        assert hub.ended() < 5
        assert hub.process.returncode == 0
        assert "hub stopped" in hub.log.read_text()


def test_ctrl_c_ends_it_alike(tmp_path: Path) -> None:
    with running(tmp_path) as hub:
        assert hub.ended(signal.SIGINT) < 5
        assert hub.process.returncode == 0


def test_a_taken_port_is_named_with_whose_it_is(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, why = refused(tmp_path, HTTP_BIND=f"127.0.0.1:{port}")
    assert code == 1
    assert f"HTTP_BIND: port {port} of 127.0.0.1 is in use by process {os.getpid()}; " in why


@shape.embedded_only("one file; a PostgreSQL takes several hubs")
def test_a_second_bridge_follower_or_worker_on_one_file_is_refused_and_a_second_api_is_not(tmp_path: Path) -> None:
    with running(tmp_path) as first:
        for role in ("bridge", "follower", "worker"):
            code, why = refused(tmp_path, role)
            assert code == 1
            assert f"role {role}: process {first.process.pid} has this role" in why
        with running(tmp_path, "api") as second:
            assert httpx2.get(f"{second.url}/api/v1/stations").status_code == 200
            assert set(second.ready()[1]) == {"cache", "database", "ingest"}


@pytest.mark.parametrize("roles", [["bridge", "follower"], ["poller"], ["worker", "poller"]])
def test_roles_without_the_api_answer_health_and_end_by_signal(tmp_path: Path, roles: list[str]) -> None:
    with running(tmp_path, *roles) as hub:
        assert (
            httpx2.get(f"http://127.0.0.1:{hub.metrics}/health").json()["roles"] == roles[::-1] if roles[0] == "worker" else roles
        )
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{hub.url}/health")
        assert hub.ended() < 5
        assert hub.process.returncode == 0


def test_the_worker_tells_the_audit_logs_head_soon_after_its_start(tmp_path: Path) -> None:
    with running(tmp_path, "worker") as hub:
        wait_until(lambda: "audit head id=0 hash=0000" in hub.log.read_text(), "the head in the log")
        assert hub.ready()[1]["worker"]["ok"]


def test_tables_of_a_newer_hub_are_refused(tmp_path: Path) -> None:
    database = open_database(shape.database_of(tmp_path))
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    code, why = refused(tmp_path)
    assert (code, "newer than this hub" in why) == (2, True)


def test_a_postgresql_that_was_not_migrated_is_refused(tmp_path: Path, postgres: str) -> None:
    code, why = refused(tmp_path, DATABASE_URL=postgres)
    assert (code, "run: harmattan-hub migrate" in why) == (2, True)


def test_a_hub_with_a_wrong_password_serves_and_recovers_when_it_is_mended(tmp_path: Path) -> None:
    port = free_port()
    data = tmp_path / "data"
    accounts = broker.write(data / "broker", port)
    broker.keep_account(data, broker.HubAccount(f"mqtt://127.0.0.1:{port}", "hub", "wrong"))
    with mosquitto_at(data / "broker" / "mosquitto.conf", port), running(data, MQTT_URL="") as hub:
        wait_until(lambda: "password" in hub.ready()[1]["bridge"]["why"], "the refusal in /ready")
        assert hub.ready()[0] == 503
        assert httpx2.get(f"{hub.url}/api/v1/stations").status_code == 200
        broker.keep_account(data, broker.HubAccount(f"mqtt://127.0.0.1:{port}", "hub", accounts.hub))
        wait_until(lambda: hub.ready()[0] == 200, "the hub ready")


def test_a_gateway_enrolled_over_http_may_connect_once_the_broker_reads_again(tmp_path: Path) -> None:
    from adapters.transport.mqtt import Client

    port = free_port()
    accounts = broker.write(tmp_path / "broker", port)
    broker.keep_account(tmp_path, broker.HubAccount(f"mqtt://127.0.0.1:{port}", "hub", accounts.hub))
    with mosquitto_at(tmp_path / "broker" / "mosquitto.conf", port) as mosquitto, running(tmp_path, MQTT_URL="") as hub:
        database = open_database(shape.database_of(tmp_path))
        token = invite(database, "unilag-01")
        database.close()
        credential = httpx2.post(f"{hub.url}/api/v1/enrol", json={"token": token}).json()
        mosquitto.reload()
        client = Client(mosquitto.url, client_id="unilag-01", username="unilag-01", password=credential["password"])
        client.start()
        wait_until(lambda: client.connected, "the gateway's connection")
        client.stop()
        wait_until(lambda: hub.ready()[0] == 200, "the hub ready")
