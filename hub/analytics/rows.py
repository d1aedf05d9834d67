"""Stored samples in; rows of a table as JSON text out. Bodies are spliced, never parsed: numbers and nulls between commas.

One column for the time, then a value and its flag for each parameter.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from hub.answers import rfc3339
from hub.store.sql import Stored
from readings.sample import Flag

DAY_MS = 86_400_000
_MINUTES = [f"{minute // 60:02d}:{minute % 60:02d}:" for minute in range(1440)]
_ABSENT = f"null,{int(Flag.MISSING)}"


class Column(Struct, frozen=True):
    """A parameter in one unit."""

    parameter: str
    unit: str


class Layout(Struct, frozen=True):
    """The columns of a sensor's table; for each of its schemas the place of each column in a body, None = not in it."""

    columns: tuple[Column, ...]
    places: Mapping[int, tuple[int | None, ...]]
    widths: Mapping[int, int]

    def only(self, parameters: Sequence[str]) -> "Layout":
        """These columns, in this order."""
        at = [next(i for i, column in enumerate(self.columns) if column.parameter == name) for name in parameters]
        places = {schema: tuple(found[i] for i in at) for schema, found in self.places.items()}
        return Layout(tuple(self.columns[i] for i in at), places, self.widths)


def layout(channels: Iterable[tuple[int, str, str]]) -> Layout:
    """Of (schema, parameter, unit) rows, the newest schema first, each schema's in the order of its bodies.

    A parameter's unit is the newest schema's; an older one in another unit is not mixed in.
    """
    columns: dict[str, Column] = {}
    schemas: dict[int, list[Column]] = {}
    for schema, parameter, unit in channels:
        columns.setdefault(parameter, Column(parameter, unit))
        schemas.setdefault(schema, []).append(Column(parameter, unit))
    wanted = tuple(columns.values())
    places = {s: tuple(own.index(column) if column in own else None for column in wanted) for s, own in schemas.items()}
    return Layout(wanted, places, {schema: len(own) for schema, own in schemas.items()})


def rows_text(rows: Sequence[Stored], layout: Layout, worst_flag: int | None = None) -> str:
    """`[["2026-11-24T22:00:00.000Z",12.3,1],...]`; a value whose flag is over `worst_flag` is null, its flag stays."""
    whole = {s for s, at in layout.places.items() if at == tuple(range(layout.widths[s]))}
    clock = Clock()
    texts = []
    for _, time_ms, _, _, schema, body, flags, _ in rows:
        if flags is None and schema in whole:
            cells = body[1:-1].replace(",", ",1,") + ",1"
        else:
            cells = _cells(body, flags, layout.places.get(schema, ()), worst_flag, len(layout.columns))
        texts.append(f'["{clock.text(time_ms)}",{cells}]')
    return f"[{','.join(texts)}]"


def _cells(body: str, flags: str | None, places: Sequence[int | None], worst_flag: int | None, columns: int) -> str:
    values = body[1:-1].split(",")
    marks = flags[1:-1].split(",") if flags else ["1"] * len(values)
    if not places:
        return ",".join([_ABSENT] * columns)
    cells = []
    for at in places:
        if at is None:
            cells.append(_ABSENT)
        elif worst_flag is not None and int(marks[at]) > worst_flag:
            cells.append(f"null,{marks[at]}")
        else:
            cells.append(f"{values[at]},{marks[at]}")
    return ",".join(cells)


class Clock:
    """Unix [ms] as RFC 3339, the text of a day made once."""

    def __init__(self) -> None:
        self._day = -1
        self._text = ""

    def text(self, unix_ms: int) -> str:
        day, rest = divmod(unix_ms, DAY_MS)
        if day != self._day:
            self._day, self._text = day, rfc3339(day * DAY_MS)[:11]
        minute, ms = divmod(rest, 60_000)
        return f"{self._text}{_MINUTES[minute]}{ms // 1000:02d}.{ms % 1000:03d}Z"
