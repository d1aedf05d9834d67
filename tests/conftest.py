"""What every test may ask for: a real mosquitto, a Redis, a fresh PostgreSQL database, the repository's root."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import shape
from tests.servers import Mosquitto, Postgres, RunningMosquitto, open_mosquitto

# A shell's background job starts with Ctrl-C ignored, and every program that a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long one example takes says more about the machine's other work than about the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def mosquitto() -> Iterator[Mosquitto]:
    """One mosquitto for the whole run that lets anybody in. A test that kills or floods its broker opens its own."""
    if running := os.environ.get("HARMATTAN_TEST_MQTT"):
        yield RunningMosquitto(running)
        return
    with tempfile.TemporaryDirectory(prefix="harmattan-mqtt-") as folder, open_mosquitto(Path(folder)) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_session() -> Postgres:
    """One PostgreSQL for the whole run."""
    return shape.postgres()


@pytest.fixture
def postgres(postgres_session: Postgres) -> Iterator[str]:
    """The postgresql:// URL of a database that only this test sees."""
    url = postgres_session.new_database()
    yield url
    postgres_session.drop_database(url)


@pytest.fixture(scope="session")
def redis_url() -> str:
    """One Redis for the whole run, forgetful. A test that kills its Redis opens its own."""
    return shape.redis_url()
