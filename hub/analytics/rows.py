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
_SECONDS = [f"{second:02d}." for second in range(60)]
_ENDS = [f'{ms:03d}Z",' for ms in range(1000)]
"""The parts of a time of day, made once: to format them costs more than all else about a row."""
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
    shapes, texts = dict[tuple[int, str | None], Cells](), []
    midnight_ms, date = 0, ""
    for _, time_ms, _, _, schema, body, flags, _ in rows:
        cells = shapes.get((schema, flags))
        if cells is None:
            cells = shapes[schema, flags] = _cells(layout, schema, flags, worst_flag)
        into_ms = time_ms - midnight_ms
        if not date or not 0 <= into_ms < DAY_MS:
            midnight_ms = time_ms // DAY_MS * DAY_MS
            into_ms, date = time_ms - midnight_ms, f'["{rfc3339(midnight_ms)[:11]}'
        second = into_ms // 1000
        texts.append(f"{date}{_MINUTES[second // 60]}{_SECONDS[second % 60]}{_ENDS[into_ms % 1000]}{cells(body)}]")
    return f"[{','.join(texts)}]"


Cells = Callable[[str], str]
"""A row's body as the text of its cells. Flags repeat from row to row, so how that is done is found once for many."""


def _cells(layout: Layout, schema: int, flags: str | None, worst_flag: int | None) -> Cells:
    marks = flags[1:-1].split(",") if flags else ["1"] * layout.widths.get(schema, 0)
    texts: list[str] = []
    picked: list[int] = []
    for at in layout.places.get(schema) or [None] * len(layout.columns):
        if at is None:
            texts.append(_ABSENT)
        elif worst_flag is not None and int(marks[at]) > worst_flag:
            texts.append(f"null,{marks[at]}")
        else:
            texts.append(f"%s,{marks[at]}")
            picked.append(at)
    template = ",".join(texts)
    if not picked:
        return lambda body: template
    if len(picked) == len(texts) and picked == list(range(layout.widths[schema])):
        return _all_of(template, marks)
    pick = itemgetter(*picked)
    return lambda body: template % pick(body[1:-1].split(","))


def _all_of(template: str, marks: Sequence[str]) -> Cells:
    """Every value of a body, in its order; most rows have one flag for all."""
    if len(set(marks)) > 1:
        return lambda body: template % tuple(body[1:-1].split(","))
    between, behind = f",{marks[0]},", f",{marks[0]}"
    return lambda body: body[1:-1].replace(",", between) + behind
