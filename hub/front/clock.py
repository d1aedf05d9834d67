"""The kernel's clocks in; whether this hub's time may date a copy of `held` out: not while it is unsynced or was stepped."""

import ctypes
import time

STA_UNSYNC = 0x40
"""adjtimex(2): the kernel's clock is not disciplined."""
STEP_MS = 2_000
"""Between two looks a disciplined clock is slewed by less; more is a step."""
STEADY_MS = 600_000
"""A clock that was stepped, or was not watched before, counts again after so long."""


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


class Steady:
    """Looked at about once a minute. Pure: both clocks are handed in [ms]."""

    def __init__(self) -> None:
        self._ahead_ms: int | None = None
        self._since_ms = 0

    def look(self, wall_ms: int, steady_ms: int, synced: bool) -> bool:
        """Whether the wall clock has been synced, and gone at the pace of the steady one, for long enough."""
        ahead_ms = wall_ms - steady_ms
        if not synced or self._ahead_ms is None or abs(ahead_ms - self._ahead_ms) > STEP_MS:
            self._since_ms = steady_ms
        self._ahead_ms = ahead_ms
        return synced and steady_ms - self._since_ms >= STEADY_MS


def synced() -> bool:
    """Whether the kernel says that somebody keeps its clock right."""
    asked = _Timex()
    answered = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(asked)) >= 0
    return answered and not asked.status & STA_UNSYNC


def steady_ms() -> int:
    """A clock that is never stepped and goes on while the machine sleeps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
