"""A folder and a port in; both this demo's alone, and cleared of what a killed one left, or the reason why not, out."""

import fcntl
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts.children import Ended

LONGEST_DIR = 107 - len("/edge/demo-01/edge.sock")
"""Bytes. A unix socket's path has at most 107."""


def say(text: str) -> None:
    print(f"demo: {text}", file=sys.stderr, flush=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder is this demo's alone. Raises Ended when it cannot be, and clears up after one that was killed."""
    if any(c.isspace() for c in str(folder)) or len(os.fsencode(folder)) > LONGEST_DIR:
        raise Ended(
            f"{folder}: blanks or more than {LONGEST_DIR} bytes do not fit into device and socket paths; choose another --dir"
        )
    try:
        for name in ("", "logs", "dev", "hub", "broker", "edge"):
            (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise Ended(f"{error.filename}: {error.strerror}; choose another --dir") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            pid = lock.read().strip() or "unknown"
            raise Ended(f"{folder} is in use by a demo with pid {pid}; stop that one or choose another --dir") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        end_leftovers(folder)
        (folder / "demo.json").unlink(missing_ok=True)  # who waits for it waits for this run
        yield
        lock.truncate(0)


def end_leftovers(folder: Path) -> None:
    """Processes of an earlier demo in this folder that outlived it (they should not): named by demo.json, proven by /proc."""
    for name, pid in told_before(folder).get("pids", {}).items():
        try:
            words = Path(f"/proc/{int(pid)}/cmdline").read_bytes()
            surroundings = Path(f"/proc/{int(pid)}/environ").read_bytes()
        except (OSError, ValueError):
            continue
        if os.fsencode(folder) in words or os.fsencode(folder) in surroundings:
            say(f"{name} (pid {pid}) was left over from an earlier demo and is ended")
            os.kill(int(pid), signal.SIGKILL)


def told_before(folder: Path) -> dict[str, Any]:
    """The demo.json of an earlier run, {} when there is none that can be read."""
    try:
        told = json.loads((folder / "demo.json").read_text())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def check_port(port: int) -> None:
    """Raises Ended when nobody can listen there."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Ended(f"port {port}: {why}; choose another with --port") from error
