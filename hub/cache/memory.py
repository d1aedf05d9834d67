"""Hits in; counts by name, key and window out, in this process alone. Bounded: a flood of keys costs no more memory than MOST."""

from collections.abc import Callable
from itertools import islice
from math import ceil
from threading import Lock
from time import time
from zlib import crc32

from hub.cache import State, Verdict

MOST = 50_000
"""Keys kept of one name, about 10 MB. The oldest goes first; other names lose nothing by it."""
SWEPT = 2
"""Old counts looked at for each new one, so that a table shrinks again after a flood."""


class Count:
    """One key's hits in one window: ours, those of them that the others know of, and theirs."""

    __slots__ = ("ends_s", "mine", "others", "told", "window")

    def __init__(self, window: int, ends_s: float) -> None:
        self.window = window
        self.ends_s = ends_s
        self.mine = self.told = self.others = 0


Named = tuple[str, int]
"""A name and the length of its windows [s]: one table each."""


class Memory:
    """Limits without a server."""

    kind = "memory"

    def __init__(self, now_s: Callable[[], float] = time, most: int = MOST) -> None:
        self._now_s = now_s
        self._most = most
        self._tables: dict[Named, dict[str, Count]] = {}
        self._lock = Lock()

    def hit(self, name: str, key: str, *, per: tuple[int, int], cost: int = 1) -> Verdict:
        amount, seconds = per
        now = self._now_s()
        window, into = divmod(now + crc32(key.encode("utf-8", "replace")) % seconds, seconds)
        left = seconds - into
        with self._lock:
            table = self._tables.setdefault((name, seconds), {})
            count = table.get(key)
            if count is None or count.window != window:
                count = self._begin(table, key, Count(int(window), now + left), now)
            used = count.mine + count.others
            count.mine += cost
            used += cost
            self._changed((name, seconds), key, count)
        allowed = used <= amount if cost else used < amount
        return Verdict(allowed, amount, max(0, amount - used), max(1, ceil(left)))

    def state(self) -> State:
        return State(self.kind, True)

    def close(self) -> None:
        """Nothing is open."""

    def _begin(self, table: dict[str, Count], key: str, count: Count, now: float) -> Count:
        """A new window's count, behind all others of its table."""
        table.pop(key, None)
        for old in list(islice(table, SWEPT)):
            if table[old].ends_s <= now or len(table) >= self._most:
                del table[old]
        table[key] = count
        return count

    def _changed(self, named: Named, key: str, count: Count) -> None:
        """Under the lock, after each hit, and after who only asks."""
