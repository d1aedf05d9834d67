"""Stored samples in; rows of a table as JSON text out. Bodies are spliced, never parsed: numbers and nulls between commas.

One column for the time, then a value and its flag for each parameter.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter

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
    shapes, texts, day, date = dict[tuple[int, str | None], Shape](), [], -1, ""
    for _, time_ms, _, _, schema, body, flags, _ in rows:
        shape = shapes.get((schema, flags))
        if shape is None:
            shape = shapes[schema, flags] = _shape(layout, schema, flags, worst_flag)
        template, pick = shape
        if time_ms // DAY_MS != day:
            day = time_ms // DAY_MS
            date = rfc3339(day * DAY_MS)[:11]
        second, ms = divmod(time_ms, 1000)
        cells = template % pick(body[1:-1].split(",")) if pick else template
        texts.append(f'["{date}{_MINUTES[second // 60 % 1440]}{second % 60:02d}.{ms:03d}Z",{cells}]')
    return f"[{','.join(texts)}]"


Shape = tuple[str, Callable[[list[str]], str | tuple[str, ...]] | None]
"""How rows of one schema and one set of flags are written: a template, and which values of a body go into it (None: none)."""


def _shape(layout: Layout, schema: int, flags: str | None, worst_flag: int | None) -> Shape:
    """Flags repeat from row to row, so the text around the values is made once for many."""
    marks = flags[1:-1].split(",") if flags else ["1"] * layout.widths.get(schema, 0)
    cells: list[str] = []
    picked: list[int] = []
    for at in layout.places.get(schema) or [None] * len(layout.columns):
        if at is None:
            cells.append(_ABSENT)
        elif worst_flag is not None and int(marks[at]) > worst_flag:
            cells.append(f"null,{marks[at]}")
        else:
            cells.append(f"%s,{marks[at]}")
            picked.append(at)
    template = ",".join(cells)
    if len(picked) > 1 and picked == list(range(layout.widths[schema])):
        return template, tuple
    return template, itemgetter(*picked) if picked else None
