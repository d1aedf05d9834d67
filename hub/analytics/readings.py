"""A sensor and a span of time in; a page of its readings as JSON out."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from hub import problems
from hub.analytics.rows import Layout, layout, rows_text
from hub.answers import cursor, rfc3339
from hub.auth.tokens import Caller
from hub.database.engine import Database
from hub.fleet.visibility import Access, access, now
from hub.problems import Problem, invalid
from hub.store.sql import Key, SampleStore, Stored

KEPT_LAYOUTS = 10_000


class Span(Struct, frozen=True):
    """From (inclusive) to (exclusive) [Unix ms]."""

    from_ms: int
    to_ms: int


class Asked(Struct, frozen=True):
    """What a page of readings shall hold. `parameters` None: all. `after`: the row before its first."""

    sensor: int
    span: Span
    parameters: Sequence[str] | None
    worst_flag: int | None
    limit: int
    after: Key | None


class Readings:
    """Pages of readings; remembers what the columns of a sensor are."""

    def __init__(self, database: Database, store: SampleStore) -> None:
        self._database = database
        self._store = store
        self._layouts: OrderedDict[int, tuple[int, Layout]] = OrderedDict()
        self._lock = threading.Lock()

    def page(self, asked: Asked, caller: Caller | None) -> tuple[bytes, str | None]:
        """The answer's body, and the cursor of what follows. Raises Problem, DatabaseAway."""
        with self._database.read_cursor() as driver:  # one transaction; SQLAlchemy's own work was half of an answer's time
            allowed = access(self._database, driver, asked.sensor, caller, now())
            if allowed is None:
                raise Problem(problems.NOT_FOUND)
            columns = self._layout(driver, asked.sensor)
            if asked.parameters is not None:
                columns = columns.only(_known(asked.parameters, columns))
            rows: list[Stored] = []
            for first, end in allowed.within(asked.span.from_ms, asked.span.to_ms):
                rows += self._store.scan_with(driver, asked.sensor, first, end, asked.limit + 1 - len(rows), asked.after)
                if len(rows) > asked.limit:
                    break
        following = None
        if len(rows) > asked.limit:
            rows = rows[: asked.limit]
            following = cursor(f"readings:{asked.sensor}", *rows[-1][1:4])
        text = rows_text(rows, columns, asked.worst_flag)
        return _body(asked, allowed, columns, text, following), following

    def _layout(self, driver: Any, sensor_id: int) -> Layout:
        driver.execute(self._database.sql("SELECT max(id) FROM schema WHERE sensor = ?"), (sensor_id,))
        newest = driver.fetchone()[0] or 0
        with self._lock:
            kept = self._layouts.get(sensor_id)
        if kept and kept[0] == newest:
            return kept[1]
        ask = self._database.sql(
            "SELECT c.schema, c.parameter, c.unit FROM schema s JOIN channel c ON c.schema = s.id"
            " WHERE s.sensor = ? ORDER BY s.id DESC, c.idx"
        )
        driver.execute(ask, (sensor_id,))
        found = layout(driver.fetchall())
        with self._lock:
            self._layouts[sensor_id] = (newest, found)
            while len(self._layouts) > KEPT_LAYOUTS:
                self._layouts.popitem(last=False)
        return found


def _known(parameters: Sequence[str], columns: Layout) -> Sequence[str]:
    """Raises Problem naming what there is."""
    known = [column.parameter for column in columns.columns]
    unknown = [name for name in parameters if name not in known]
    if unknown:
        said = f"this sensor has no {', '.join(unknown)[:200]}; it has {', '.join(known) or 'nothing yet'}"
        raise invalid("parameters", said, known=known)
    return parameters


def _body(asked: Asked, allowed: Access, columns: Layout, rows: str, following: str | None) -> bytes:
    fields, units = ["time"], [""]
    for column in columns.columns:
        fields += [column.parameter, f"{column.parameter}_flag"]
        units += [column.unit, ""]
    to_ms, after_ms = asked.span.to_ms, allowed.after_ms
    meta = {
        "sensor": asked.sensor,
        "name": allowed.name,
        "from": rfc3339(asked.span.from_ms),
        "to": rfc3339(to_ms if after_ms is None else max(asked.span.from_ms, min(to_ms, after_ms))),
        "limit": asked.limit,
        "next": following,
        "licence": allowed.licence,
        "attribution": allowed.attribution,
        "embargoed_after": None if after_ms is None else rfc3339(after_ms),
    }
    head = msgspec.json.encode({"fields": fields, "units": units})
    return b'%s,"rows":%s,"meta":%s}' % (head[:-1], rows.encode(), msgspec.json.encode(meta))
