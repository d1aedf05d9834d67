"""What the adapters' tests share: the catalogue, and a pseudo-terminal that a sensor may be behind."""

import os
import pty
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.catalogue import Catalogue
from adapters.profile import Profile

PMS_GOOD = bytes.fromhex("424d001c0005000d00160005000d001602fd00fc001d000f00060006970003c5")
"""PM2.5 = 13 ug/m3. avaldebe/PyPMS 45c3bf0 tests/sensors/test_sensor.py (MIT)."""


class Device:
    """The far end of a serial line. `path` is what the daemon opens; it can be unplugged and plugged in again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.master = -1
        self.plug()

    def plug(self) -> None:
        self.master, self.slave = pty.openpty()  # its end stays open here: else reading fails while nobody has opened it
        tty.setraw(self.slave)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(self.slave))

    def unplug(self) -> None:
        os.close(self.master)
        os.close(self.slave)
        self.master = -1
        self.path.unlink(missing_ok=True)

    def say(self, data: bytes) -> None:
        os.write(self.master, data)

    def answer(self, ask: bytes, say: Callable[[], bytes], times: int = 1) -> threading.Thread:
        """In a thread: each time `ask` has come, says what `say` gives."""

        def run() -> None:
            heard = b""
            for _ in range(times):
                while ask not in heard:
                    heard += os.read(self.master, 100)
                heard = heard.partition(ask)[2]
                self.say(say())

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return Catalogue.load()


@pytest.fixture
def pms5003(catalogue: Catalogue) -> Profile:
    return catalogue.get("plantower.pms5003")


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    made = Device(tmp_path / "ttyUSB0")
    yield made
    if made.master >= 0:
        made.unplug()
