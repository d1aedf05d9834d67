"""A serial port: bytes out, bytes in with the moment of their arrival. Held exclusively; what is in the way is named.

Never reads byte by byte: the kernel collects, `select` waits, one read takes all.
"""

import errno
import os
import select
import termios
from pathlib import Path
from weakref import WeakValueDictionary

import serial

from adapters.profile import Link
from adapters.transport.base import Busy, Chunk, LinkFailed, NoPermission, Unplugged, boottime_ns
from readings.errors import Retry

READ_BYTES = 4096
_PARITY = {"none": serial.PARITY_NONE, "even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD}
_GONE = (errno.EIO, errno.ENXIO, errno.ENODEV, errno.ENOENT, errno.EBADF)


class SerialLine:
    """One port with its line settings. Several sensors of one bus share it: it closes with the last of them."""

    def __init__(self, path: Path, link: Link) -> None:
        self.path = path
        self.link = link
        self._port: serial.Serial | None = None
        self._users = 0

    def open(self) -> None:
        """Raises Unplugged, NoPermission, Busy, LinkFailed."""
        if self._port is None:
            port = serial.Serial(exclusive=True, timeout=0, write_timeout=1)
            port.port = str(self.path)
            port.baudrate, port.bytesize, port.stopbits = self.link.baud, self.link.data_bits, self.link.stop_bits
            port.parity = _PARITY[self.link.parity]
            try:
                port.open()
            except (OSError, ValueError, termios.error) as error:
                raise _refusal(error, self.path) from error
            if rivals := _holders(self.path):  # whoever takes no lock would still take half of the bytes
                port.close()
                raise _busy(self.path, rivals)
            self._port = port
        self._users += 1

    def close(self) -> None:
        self._users = max(0, self._users - 1)
        if self._users == 0:
            self._drop()

    def flush(self) -> None:
        port = self._opened()
        try:
            port.reset_input_buffer()
        except (OSError, termios.error) as error:
            raise self._lost(error) from error

    def write(self, data: bytes) -> None:
        port = self._opened()
        try:
            port.write(data)
        except serial.SerialTimeoutException as error:
            raise LinkFailed("takes no bytes", what=str(self.path), hint="is a flow control on, or the cable cut?") from error
        except (OSError, termios.error) as error:
            raise self._lost(error) from error

    def read(self, timeout_s: float) -> Chunk | None:
        fd = self._opened().fileno()
        try:
            ready, _, _ = select.select([fd], [], [], max(0.0, timeout_s))
            if not ready:
                self.look()
                return None
            data = os.read(fd, READ_BYTES)
        except (OSError, ValueError) as error:
            raise self._lost(error) from error
        if not data:
            raise self._lost(None)
        return Chunk(data, boottime_ns())

    def look(self) -> None:
        """Raises Unplugged when the path no longer leads to the port that is open: it was plugged in anew."""
        port = self._opened()
        try:
            mine, there = os.fstat(port.fileno()), os.stat(self.path)
        except OSError as error:
            raise self._lost(error) from error
        if (mine.st_rdev, mine.st_ino) != (there.st_rdev, there.st_ino):
            raise self._lost(None)

    def _opened(self) -> serial.Serial:
        if self._port is None or not self._port.is_open:
            raise Unplugged("is not open", what=str(self.path))
        return self._port

    def _lost(self, error: Exception | None) -> Retry:
        self._drop()
        code = getattr(error, "errno", None)
        if error is not None and code not in (*_GONE, None):
            return LinkFailed(str(error), what=str(self.path))
        return Unplugged("vanished", what=str(self.path), hint="plug it in again: reading goes on by itself")

    def _drop(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            port.close()


_shared: WeakValueDictionary[Path, SerialLine] = WeakValueDictionary()


def line_at(path: Path, link: Link) -> SerialLine:
    """The one line of this port within this program."""
    line = _shared.get(path)
    if line is None:
        line = _shared[path] = SerialLine(path, link)
    return line


def _refusal(error: Exception, path: Path) -> Retry:
    """What to do about a port that does not open."""
    code = getattr(error, "errno", None)
    if code in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EBUSY):
        return _busy(path, _lock_owners(path) or _holders(path))
    if code in (errno.EACCES, errno.EPERM):
        hint = f"add the user to the group dialout (sudo usermod -aG dialout {_user()}), then log in again"
        return NoPermission("this user may not open it", what=str(path), hint=hint)
    if code in _GONE:
        return Unplugged("is not there", what=str(path), hint="plug it in; `ls /dev/serial/by-id` shows what there is")
    if code == errno.EISDIR:
        return LinkFailed("is a folder", what=str(path), hint="name the port itself, as in serial:/dev/ttyUSB0")
    return LinkFailed(
        f"is no serial port that can be set up ({error})", what=str(path), hint="name a port, as in serial:/dev/ttyUSB0"
    )


def _user() -> str:
    return os.environ.get("USER") or os.environ.get("LOGNAME") or "harmattan"


def _busy(path: Path, pids: list[int]) -> Busy:
    named = ", ".join(f"{_command(pid)} (pid {pid})" for pid in pids)
    why = f"is in use by {named}" if named else "is in use by another program"
    return Busy(why, what=str(path), hint=f"stop it: kill {pids[0]}" if pids else "`sudo fuser` shows which")


def _lock_owners(path: Path) -> list[int]:
    """Pids that hold a file lock on it, from /proc/locks."""
    try:
        there = os.stat(path)
        key = f"{os.major(there.st_dev):02x}:{os.minor(there.st_dev):02x}:{there.st_ino}"
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return []
    return [int(words[4]) for line in lines if len(words := line.split()) > 5 and words[5] == key and words[4] != "-1"]


def _holders(path: Path) -> list[int]:
    """Other processes that have it open, as far as this user may see; not the one behind a pseudo-terminal: it is the device."""
    found: list[int] = []
    real = os.path.realpath(path)
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        targets = _open_files(folder / "fd")
        if real in targets and not any(target.endswith("/ptmx") for target in targets):
            found.append(int(folder.name))
    return sorted(found)


def _open_files(folder: Path) -> set[str]:
    try:
        return {target for fd in os.listdir(folder) if (target := _target(folder / fd))}
    except OSError:
        return set()


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() or "a program"
    except OSError:
        return "a program"
