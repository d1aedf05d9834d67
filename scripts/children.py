"""Commands in; processes that live exactly as long as this one out. One that dies is started again at once.

A child of a killed parent is killed by the kernel (PR_SET_PDEATHSIG), so that not even `kill -9` leaves one behind.
"""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)
AGAIN_S = 1.0
"""At least this long between two starts of one child, so that one that cannot run does not burn the machine."""
STOP_S = 10.0
TAIL_LINES = 12


class Ended(Exception):
    """A child ended before it was of use. The text is what it said last."""


class Child:
    """One process with its log file; `ready` says whether it is of use yet (default: as soon as it runs)."""

    def __init__(self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name, self.command, self.log, self.env = name, list(command), log, env
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """In a process group of its own: Ctrl-C reaches the parent alone, which then stops its children in order."""
        self._started = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env={**os.environ, **(self.env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                preexec_fn=_die_with(os.getpid()),
            )

    def died(self) -> int | None:
        """The exit code when it has ended."""
        return self._process.poll() if self._process else None

    def tend(self) -> int | None:
        """Starts it again when it has ended: the exit code that it ended with, None while all is well."""
        code = self.died()
        if code is None or time.monotonic() - self._started < AGAIN_S:
            return None
        self.start()
        return code

    def wait_until(self, ready: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Returns when `ready` says so. Raises Ended when the child ends before, or does not get there in time."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            code = self.died()
            if code is not None:
                raise Ended(f"{self.name} ended with {code}: {self.last_words()}")
            if time.monotonic() > deadline:
                raise Ended(f"{self.name}: {what} not within {timeout_s:g} s: {self.last_words()}")
            time.sleep(0.05)

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        return "\n  ".join(lines[-TAIL_LINES:]) or "it said nothing"

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def gone(self, deadline: float) -> None:
        """Waits for its end up to a moment of the monotonic clock [s], then kills it."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


class Children:
    """All of them, by name; stopped in the reverse order of their start."""

    def __init__(self) -> None:
        self._all: dict[str, Child] = {}

    def start(self, child: Child) -> Child:
        self._all[child.name] = child
        child.start()
        return child

    def signal(self, name: str, number: signal.Signals) -> None:
        self._all[name].signal(number)

    def pids(self) -> dict[str, int]:
        return {name: child.pid for name, child in self._all.items() if child.pid is not None}

    def tend(self) -> dict[str, int]:
        """Those that had died and run again now, with the exit code of each (negative: the signal)."""
        return {name: code for name, child in self._all.items() if (code := child.tend()) is not None}

    def stop(self, within_s: float = STOP_S) -> None:
        """TERM for all, those first that were started last; KILL for whoever is still there in the end."""
        deadline = time.monotonic() + within_s
        for child in reversed(self._all.values()):
            child.signal(signal.SIGTERM)
        for child in reversed(self._all.values()):
            child.gone(deadline)
        self._all.clear()


def _die_with(parent: int) -> Callable[[], None]:
    def prepare() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died while we were being made
            os._exit(1)

    return prepare


def output_of(command: Sequence[str], env: Mapping[str, str], timeout_s: float = 60.0) -> str:
    """What a short command prints. Raises Ended with its complaint when it fails."""
    name = " ".join([Path(command[0]).name, *command[1:3]])
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            process_group=0,
            preexec_fn=_die_with(os.getpid()),
        )
    except subprocess.TimeoutExpired:
        raise Ended(f"{name}: no answer within {timeout_s:g} s") from None
    if done.returncode:
        raise Ended(f"{name} ended with {done.returncode}: {done.stderr.strip() or 'it said nothing'}")
    return done.stdout
