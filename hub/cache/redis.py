"""Counts of this process in; counts of all processes out, through Redis. One thread tells and asks; a hit never waits for it.

After a hit, at most every TELL_S, it adds what was counted here to Redis (INCRBY) and hears how many there are in all: hits of
another process are known here that much later. That is the price of a request that never waits: a round trip in each would
stop the event loop when Redis hangs. While Redis is away each process counts by itself, and tells what it counted when Redis is
back. A Redis that lost its memory costs nobody the hits counted here.
"""

import logging
from collections.abc import Sequence
from hashlib import blake2b
from threading import Event, Thread
from time import time

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from hub.cache import State
from hub.cache.memory import Count, Memory, Named

log = logging.getLogger("hub.cache")
TELL_S = 0.05
AGAIN_S = 1.0
LOOK_S = 5.0
"""So often an idle process looks whether Redis is there, for /ready."""
ANSWER_S = 0.5
AT_ONCE = 1000
LATE_S = 60
"""Kept behind its window's end, for processes whose clocks differ."""
Changed = tuple[Named, str, Count]


class Shared(Memory):
    """Limits that all processes with this Redis share."""

    kind = "redis"

    def __init__(self, url: str) -> None:
        super().__init__()
        self._redis = Redis.from_url(
            url, socket_connect_timeout=ANSWER_S, socket_timeout=ANSWER_S, retry=Retry(NoBackoff(), 0), max_connections=1
        )
        self._dirty: dict[int, Changed] = {}
        self._bell = Event()
        self._stop = Event()
        self._why: str | None = "it was not reached yet"
        self._said = False
        self._teller = Thread(target=self._tell, name="cache", daemon=True)
        self._teller.start()

    def state(self) -> State:
        why = self._why
        return State(self.kind, why is None, f"redis is away, limits are counted in this process: {why}" if why else "")

    def close(self) -> None:
        self._stop.set()
        self._bell.set()
        self._teller.join(2 * ANSWER_S + AGAIN_S)
        self._redis.close()

    def _changed(self, named: Named, key: str, count: Count) -> None:
        self._dirty[id(count)] = (named, key, count)
        if not self._bell.is_set():
            self._bell.set()

    def _tell(self) -> None:
        while not self._stop.is_set():
            self._round()
            if self._why is not None:
                self._stop.wait(AGAIN_S)
            elif self._bell.wait(LOOK_S):
                self._stop.wait(TELL_S)
        if self._why is None:
            self._round()

    def _round(self) -> None:
        """Tells and hears once. What could not be told stays for the next round."""
        with self._lock:
            changed, self._dirty = list(self._dirty.values()), {}
            self._bell.clear()
        now = time()
        changed = [one for one in changed if one[2].ends_s > now]
        done = 0
        try:
            if not changed:
                self._redis.ping()
            for done in range(0, len(changed), AT_ONCE):  # where it stood when Redis went away
                self._share(changed[done : done + AT_ONCE])
        except (RedisError, OSError) as error:
            with self._lock:
                self._dirty = {id(one[2]): one for one in changed[done:]} | self._dirty
            self._away(str(error))
        else:
            self._back()

    def _share(self, changed: Sequence[Changed]) -> None:
        news = [count.mine - count.told for _, _, count in changed]
        pipeline = self._redis.pipeline(transaction=False)
        for (named, key, count), new in zip(changed, news, strict=True):
            place = _place(named, key, count.window)
            pipeline.incrby(place, new)
            pipeline.expireat(place, int(count.ends_s) + LATE_S)
        totals = pipeline.execute()[::2]
        with self._lock:
            for (_, _, count), new, total in zip(changed, news, totals, strict=True):
                count.told += new
                count.others = max(count.others, int(total) - count.told)

    def _away(self, why: str) -> None:
        if not self._said:
            log.warning("redis away: limits are counted in this process why=%r", why)
        self._said, self._why = True, why

    def _back(self) -> None:
        if self._said:
            log.info("redis back: limits are shared again")
        self._said, self._why = False, None


def _place(named: Named, key: str, window: int) -> str:
    """The key in Redis. What was counted (an address, a person) is not readable there."""
    name, seconds = named
    return f"harmattan:limit:{name}:{seconds}:{window}:{blake2b(key.encode('utf-8', 'replace'), digest_size=16).hexdigest()}"
