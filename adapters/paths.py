"""A JSON path as text in; what finds its place in an answer, and what puts a value there, out.

Steps are keys, joined by dots: `wind.speed`. A key with dots or blanks stands in quotes: `PMS5003."PM2.5"`. `[0]` is the first of
a list, `[value_type=SDS_P1]` the first object in a list in which that key holds that word. A path starts at the row that is read;
with `$` before it, at the whole answer: `$.meta.page`; `$` alone is all of it. `[]` ends a path to rows: a list of them.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import Struct

ABSENT: Final = object()
ALLOWED = 'keys joined by dots, "quoted" where they hold dots; [0], [key=word]; $ is the whole answer'
MAX_INDEX = 999
_STEP = re.compile(
    r'"(?P<quoted>[^"]+)"|\[(?P<index>[0-9]{1,3})\]|\[(?P<key>[^\[\]="]+)=(?P<word>[^\[\]]*)\]|(?P<bare>[^\s."\[\]$][^\s."\[\]]*)'
)


class Select(Struct, frozen=True):
    """The first object of a list whose `key` holds `word`."""

    key: str
    word: str


Step = str | int | Select


class Path(Struct, frozen=True):
    """`whole`: from the whole answer on, not from the row. `many`: a list of rows stands there."""

    whole: bool
    steps: tuple[Step, ...]
    many: bool = False


def parsed(text: object) -> Path | None:
    """None for a text that is no path."""
    if not isinstance(text, str) or not text:
        return None
    many = text.endswith("[]")
    text = text.removesuffix("[]")
    whole = text.startswith("$")
    rest = text.removeprefix("$") if whole else text
    steps: list[Step] = []
    while rest:
        if steps or whole:
            if rest[0] not in ".[":
                return None
            rest = rest.removeprefix(".")
        step = _STEP.match(rest)
        if step is None:
            return None
        steps.append(_step(step))
        rest = rest[step.end() :]
    return Path(whole, tuple(steps), many) if steps or whole else None


def path_of(text: object) -> Path:
    """The path of a text that has been checked."""
    path = parsed(text)
    assert path is not None, text  # noqa: S101  # profile.py refuses others
    return path


def _step(step: re.Match[str]) -> Step:
    if step["index"] is not None:
        return int(step["index"])
    if step["key"] is not None:
        return Select(step["key"], step["word"].strip())
    return step["quoted"] or step["bare"]


def word_of(value: Any) -> str | None:
    """What stands there as the word that profiles compare with: 1, 1.0 and "1" are the same. None for lists, objects, nothing."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value == value and abs(value) < 1e15 and value == int(value):
        return str(int(value))
    if isinstance(value, int) and abs(value) >= 1 << 128:  # printing it could take long
        return None
    return str(value) if isinstance(value, (int, float)) else None


def into(here: Any, step: Step) -> Any:
    """One step further, or ABSENT. A plain number is a key, or else a place in a list."""
    if isinstance(here, dict):
        return here.get(step, ABSENT) if isinstance(step, str) else ABSENT
    if not isinstance(here, list):
        return ABSENT
    if isinstance(step, Select):
        matching = (item for item in here if isinstance(item, dict) and word_of(item.get(step.key)) == step.word)
        return next(matching, ABSENT)
    if isinstance(step, str) and not (step.isascii() and step.isdecimal() and len(step) <= 3):
        return ABSENT
    return here[int(step)] if int(step) < len(here) else ABSENT


Find = Callable[[Any, Any], Any]
"""(row, whole answer) -> what stands there, or ABSENT."""


def finder(paths: Sequence[Path]) -> Find:
    """The first of the paths that holds a number or a word; else what stands there instead. Most devices' answers are flat."""
    if len(paths) == 1 and len(paths[0].steps) == 1 and isinstance(paths[0].steps[0], str) and not paths[0].whole:
        key = paths[0].steps[0]
        return lambda row, top: row.get(key, ABSENT) if type(row) is dict else into(row, key)
    return lambda row, top: _find(row, top, paths)


def _find(row: Any, top: Any, paths: Sequence[Path]) -> Any:
    found: Any = ABSENT
    for path in paths:
        here = top if path.whole else row
        for step in path.steps:
            here = into(here, step)
            if here is ABSENT:
                break
        if here is ABSENT:
            continue
        if here is not None and not isinstance(here, (dict, list)):
            return here
        if found is ABSENT or found is None:
            found = here
    return found


def put(holder: Any, steps: Sequence[Step], value: Any) -> Any:
    """The holder with the value at the end of the steps; objects and lists on the way are made."""
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(step, str):
        mapping: dict[str, Any] = holder if isinstance(holder, dict) else {}
        mapping[step] = put(mapping.get(step), rest, value)
        return mapping
    items: list[Any] = holder if isinstance(holder, list) else []
    if isinstance(step, Select):
        at = next((at for at, item in enumerate(items) if into([item], step) is not ABSENT), len(items))
        word = int(step.word) if step.word.isdecimal() else step.word
        items[at:] = [put({step.key: word} if at == len(items) else items[at], rest, value), *items[at + 1 :]]
        return items
    items += [None] * (step + 1 - len(items))
    items[step] = put(items[step], rest, value)
    return items
