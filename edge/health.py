"""How the gateway itself is: clock, disk, supervisor. Kernel facts in; Moments, words for `status`, notes to systemd out."""

import contextlib
import ctypes
import os
import socket
import time
from pathlib import Path

from readings.sample import Clock as ClockState
from readings.sample import Moment

STA_UNSYNC = 0x40
"""adjtimex(2): the kernel's clock is not disciplined."""
SYNCED_THIS_BOOT = Path("/run/systemd/timesync/synchronized")
"""systemd-timesyncd makes it at the first synchronisation of a boot."""
LOOK_S = 1.0
LOW_BYTES = 64 << 20


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


class Clock:
    """Tells the time, and how far it may be trusted: synced, holdover (was synced in this boot), unsynced."""

    def __init__(self, *, synced_mark: Path = SYNCED_THIS_BOOT) -> None:
        self.boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._mark = synced_mark
        self._was_synced = False
        self._state: ClockState = "unsynced"
        self._look_s = -LOOK_S
        self.error_ms = 0
        """While synced: how far off the clock is at most, says the kernel (adjtimex, maxerror)."""

    def state(self) -> ClockState:
        """Asked of the kernel at most once a second."""
        now_s = time.monotonic()
        if now_s - self._look_s >= LOOK_S:
            self._look_s = now_s
            self._state = self._judge(self._disciplined())
        return self._state

    def moment(self) -> Moment:
        """Now. The boot clock in whole milliseconds."""
        mono_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000 * 1_000_000
        return Moment(self.boot, mono_ns, time.time_ns() // 1_000_000, self.state())

    def moment_at(self, boottime_ns: int) -> Moment:
        """The moment at which the boot clock showed this, a little while ago."""
        now = self.moment()
        then_ns = boottime_ns // 1_000_000 * 1_000_000
        return Moment(now.boot, then_ns, now.wall_ms - ((now.mono_ns or 0) - then_ns) // 1_000_000, now.clock)

    def _judge(self, disciplined: bool) -> ClockState:
        if disciplined:
            self._was_synced = True
            return "synced"
        if self._was_synced or self._mark.exists():
            return "holdover"
        return "unsynced"

    def _disciplined(self) -> bool:
        """Without permission to ask, the clock counts as free-running."""
        asked = _Timex()
        answered = self._libc.adjtimex(ctypes.byref(asked)) >= 0
        self.error_ms = -(-asked.maxerror // 1000)
        return answered and not asked.status & STA_UNSYNC


def disk(folder: Path) -> tuple[str, str]:
    """(word, why): `ok` or `low` by the room on the file system of a folder, `unreadable` when it cannot be asked."""
    try:
        found = os.statvfs(folder)
    except OSError as error:
        return "unreadable", f"{folder}: {error.strerror}"
    free = found.f_bavail * found.f_frsize
    return ("ok", "") if free >= LOW_BYTES else ("low", f"{free >> 20} MiB are left on the disk of {folder}")


class Supervisor:
    """systemd's notify protocol (sd_notify(3)): a datagram to $NOTIFY_SOCKET. Silent without one."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        watchdog_us = os.environ.get("WATCHDOG_USEC", "")
        mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.every_s = int(watchdog_us) / 3e6 if watchdog_us.isdecimal() and mine else None
        """Time between two signs of life; None when nobody waits for them."""
        self._next_s = 0.0

    def ready(self) -> None:
        self._say("READY=1")

    def stopping(self) -> None:
        self._say("STOPPING=1")

    def alive(self, now_s: float) -> None:
        """Called at each turn of the core: a core that hangs is silent, and systemd starts the daemon anew."""
        if self.every_s is not None and now_s >= self._next_s:
            self._next_s = now_s + self.every_s
            self._say("WATCHDOG=1")

    def _say(self, what: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.sendto(what.encode(), address)
