"""Damaged outbox files, moved aside, in; their rows on the new card out, while sampling and sending go on; or by hand.

When all that can be read of a file is on the card it is renamed, so that no later start reads it again; one such file is kept.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from msgspec import Struct

from edge.card import Full, beside
from edge.outbox import Event, Outbox, Refused, Rescued
from edge.salvage import START, Done, Found, Numbers, counted, read
from readings.errors import Retry, Stop
from readings.ranges import Ranges
from readings.row import parse
from readings.sample import Moment

log = logging.getLogger("edge.rescue")

PAUSE_S = 0.02
"""Between chunks: sampling and sending go on meanwhile."""
_readers = count(1)


def damaged_files(outbox: Path) -> list[Path]:
    """Files that were moved aside and not read yet, oldest first; of some only the WAL is left."""
    names = {
        beside(outbox, "").parent / path.name.removesuffix("-wal") for path in outbox.parent.glob(f"{outbox.name}.damaged-*")
    }
    return sorted(names)


def put_away(path: Path, outbox: Path) -> None:
    """A file that was read becomes `.salvaged-<time>`; older ones are removed."""
    old = list(outbox.parent.glob(f"{outbox.name}.salvaged-*"))
    stamp = path.name.removeprefix(f"{outbox.name}.damaged-")
    for suffix in ("", "-wal"):
        with suppress(OSError):
            beside(path, suffix).rename(beside(outbox, f".salvaged-{stamp}{suffix}"))
    for one in old:
        with suppress(OSError):
            one.unlink()


class Part(Struct, frozen=True):
    """What a Salvager posts. One that was stopped may have posted a last one: `reader` tells them apart."""

    reader: int
    content: Found | Done


class Salvager:
    """Reads one damaged file in a thread of its own; posts Found and Done one at a time, the next when the core says so."""

    def __init__(self, path: Path, known: dict[int, str], post: Callable[[object], None]) -> None:
        self.path = path
        self.number = next(_readers)
        self._known = known
        self._post = post
        self._go = threading.Semaphore(1)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="salvage", daemon=True)

    def start(self) -> None:
        log.warning("salvage begins path=%s", self.path)
        self._thread.start()

    def next(self) -> None:
        """What was posted is on the card."""
        self._go.release()

    def stop(self) -> None:
        self._stopping.set()
        self._go.release()

    def _run(self) -> None:
        try:
            for part in read(self.path, self._known):
                self._go.acquire()
                if self._stopping.wait(PAUSE_S):
                    return
                self._post(Part(self.number, part))
        except Exception:  # the thread's outermost frame: a file that defies reading must not end the daemon
            log.exception("salvage failed path=%s", self.path)
            self._post(Part(self.number, Done(self.path, failed=True)))


class Rescue:
    """The core's side: damaged files one after another, their rows onto the card, a word when each is done."""

    def __init__(self, outbox: Outbox, post: Callable[[object], None], at: Callable[[], Moment]) -> None:
        self._outbox = outbox
        self._post = post
        self._at = at
        self._reading: Salvager | None = None
        self._waiting: Found | None = None
        self._skipped: dict[str, Numbers] = {}
        self._failed: set[Path] = set()
        self._read: Path | None = None
        self._known: dict[int, str] = {}
        self._ends: dict[str, int] = {}

    @property
    def at_work(self) -> bool:
        return self._reading is not None or self._read is not None

    def remember(self, known: dict[int, str], ends: dict[str, int]) -> None:
        """What the ruined outbox still knew of its streams: their names by number, and their ends."""
        self._known, self._ends = known, ends

    def look(self) -> None:
        """Begin with the newest file that was moved aside, unless one is being read."""
        if self.at_work or not self._outbox.card:
            return
        files = [path for path in damaged_files(self._outbox.path) if path not in self._failed]
        if files:
            self._skipped = {}
            self._reading = Salvager(files[-1], self._known, self._post)
            self._reading.start()
        elif self._outbox.salvaging:  # somebody took the file away before all of it was read
            self._outbox.adopted({}, {}, {})

    def take(self, part: Part) -> None:
        """A part that was posted. Raises StorageFailed, Damaged."""
        if self._reading is None or part.reader != self._reading.number:
            return
        if isinstance(part.content, Done):
            self._reading = None
            self._finish(part.content)
        else:
            self._adopt(self._reading, part.content)

    def _adopt(self, reading: Salvager, part: Found) -> None:
        try:
            self._outbox.adopt(part.rows)
        except Full:
            counted(part.rows, self._skipped)
        except Refused:
            self._waiting = part
            return
        reading.next()

    def again(self) -> None:
        """A commit went well: so may a part that was refused; and what was read to its end needs not be read again."""
        if self._waiting is not None and self._reading is not None:
            part, self._waiting = self._waiting, None
            self._adopt(self._reading, part)
        if self._read is not None:
            put_away(self._read, self._outbox.path)
            self._read = None
            self._known, self._ends = {}, {}
            self.look()

    def stop(self) -> None:
        if self._reading is not None:
            self._reading.stop()

    def _finish(self, done: Done) -> None:
        left_out = {name: numbers.ranges() for name, numbers in self._skipped.items()}
        rows = {name: numbers - left_out.get(name, Ranges()) for name, numbers in done.found.items()}
        rows = {name: numbers for name, numbers in rows.items() if numbers}
        skipped = sum(map(len, left_out.values()))
        brought = sum(map(len, rows.values()))
        log.warning(
            "salvage done path=%s rows=%d streams=%d no_room=%d unnamed=%d", done.path, brought, len(rows), skipped, done.unnamed
        )
        if done.failed or skipped:
            self._failed.add(done.path)
        ends = {**done.ends, **self._ends}
        self._outbox.adopted(rows, {name: end for name, end in ends.items() if name in rows}, done.away)
        content = {"rows": brought, "streams": len(rows), "no_room": skipped, "unnamed": done.unnamed, "card": done.card}
        self._outbox.put(Event("salvaged", self._at(), content))
        self._read = None if done.path in self._failed else done.path


class Brought(Struct, frozen=True):
    """What a salvage by hand brought: rows and streams; numbers that could not be read; rows of streams without a name."""

    rows: int
    streams: int
    missing: int
    unnamed: int


def by_hand(
    file: Path,
    path: Path,
    *,
    version: str,
    at: Moment,
    progress: Callable[[int], None],
    before_writing: Callable[[], None],
) -> Brought:
    """All that can be read of a damaged file into the outbox at `path`. The file stays as it is.

    Raises Stop when a daemon has that outbox, Retry when there is no file.
    """
    if not file.is_file():
        raise Retry("there is no such file", what=str(file), hint="give the damaged outbox, outbox.db.damaged-<time>")
    if path.exists() and path.samefile(file):
        raise Stop("it is the outbox itself", what=str(file), hint="move it aside first, or name another --store")
    parts = read(file)
    part = next(parts)  # opened while this is still root
    before_writing()
    outbox = Outbox.open(path, quota_bytes=1 << 40)
    try:
        site: dict[str, Any] = {}
        rows = 0
        while isinstance(part, Found):
            outbox.adopt(part.rows)
            site = _site(part.rows) or site
            rows += len(part.rows)
            progress(rows)
            part = next(parts)
        outbox.adopted(part.found, part.ends, part.away)
        missing = sum(len(loss.ranges) for loss in outbox.mourned)
        outbox.begin(version, site, at, [])
        outbox.put(Event("salvaged", at, {"rows": rows, "file": file.name, "unnamed": part.unnamed}))
        outbox.commit()
        return Brought(rows, len(part.found), missing, part.unnamed)
    finally:
        outbox.close()


def _site(rows: list[Rescued]) -> dict[str, Any]:
    """Of the newest start row among these: the salvage's own start must not move the station."""
    for row in reversed(rows):
        if row.raw.startswith(START) and isinstance(site := parse(row.raw).values.get("site"), dict):
            return site
    return {}
