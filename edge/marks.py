"""A person's YAML file in; its values out, each with its line, and every mistake of the file at once. Writes nothing.

Values are taken by what is written, never by YAML 1.1's guesses: `no` is refused rather than read as false, `010` is not eight.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from msgspec import Struct

from adapters.document import Mistake, Mistakes
from readings.errors import Stop

MAX_FILE_BYTES = 1 << 20
TIMES = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
SIZES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\Z")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?\Z")
_YAML_TAG = "tag:yaml.org,2002:"
_Loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Mark(Struct, frozen=True):
    """One value of the file: its key path (`sensors.pm.every`) and its line."""

    key: str
    line: int
    node: yaml.Node

    def at(self, key: str) -> "Mark":
        """The same value under a better name, once it is known (`sensors.pm` for `sensors[1]`)."""
        return Mark(key, self.line, self.node)


class Page:
    """One file as it is read: hands out marks and values, collects mistakes. A value that is wrong comes back as None."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._mistakes: list[Mistake] = []

    def wrong(self, mark: Mark | None, why: str, allowed: str = "") -> None:
        line, key = (mark.line, mark.key) if mark else (1, "")
        self._mistakes.append(Mistake(self.name, line, key, why, allowed))

    def adopt(self, mistakes: Iterable[Mistake]) -> None:
        """Mistakes of another file that this one names."""
        self._mistakes.extend(mistakes)

    @property
    def clean(self) -> bool:
        return not self._mistakes

    def settle(self) -> None:
        """Raises Mistakes when there are any."""
        if self._mistakes:
            raise Mistakes(self._mistakes)

    def read(self, path: Path) -> Mark | None:
        """The whole file; None when nothing in it can be read (the mistakes say why). Raises Stop when there is no file."""
        try:
            with path.open("rb") as file:
                raw = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            what = "there is no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error)).lower()
            raise Stop(what, what=self.name, hint="name a configuration file that this user may read") from error
        if len(raw) > MAX_FILE_BYTES:
            self.wrong(None, "is over 1 MiB", "this is no configuration file")
            return None
        return self._compose(self._untab(self._decode(raw)))

    def _decode(self, raw: bytes) -> str:
        """UTF-8 text with plain line ends. A wrong byte is reported and replaced, so that the rest of the file is checked too."""
        if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            self.wrong(None, "is UTF-16, not UTF-8", "save it as UTF-8 without a byte order mark")
            return raw.decode("utf-16", "replace")
        if raw.startswith(b"\xef\xbb\xbf"):
            self.wrong(None, "starts with a byte order mark (BOM)", "save it as UTF-8 without BOM")
            raw = raw[3:]
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            mark = Mark("", raw.count(b"\n", 0, error.start) + 1, yaml.ScalarNode("", ""))
            self.wrong(mark, f"byte 0x{raw[error.start]:02x} is not UTF-8", "save the file as UTF-8")
            text = raw.decode(errors="replace")
        if "\r" in text:
            mark = Mark("", text.count("\n", 0, text.index("\r")) + 1, yaml.ScalarNode("", ""))
            self.wrong(
                mark, "ends its lines with CR LF, as Windows does", f"save it with LF, or run: sed -i 's/\\r$//' {self.name}"
            )
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def _untab(self, text: str) -> str:
        lines = text.split("\n")
        for no, line in enumerate(lines):
            indent = line[: len(line) - len(line.lstrip())]
            if "\t" in indent and line.strip() and not line.lstrip().startswith("#"):
                self.wrong(Mark("", no + 1, yaml.ScalarNode("", "")), "is indented with a tab", "YAML takes spaces only")
                lines[no] = indent.expandtabs(2) + line.lstrip()
        return "\n".join(lines)

    def _compose(self, text: str) -> Mark | None:
        known = bool(self._mistakes)
        try:
            node = yaml.compose(text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            if not known:  # a tab or a wrong byte explains it already
                self._not_yaml(error)
            return None
        except RecursionError:
            self.wrong(None, "is not YAML: too deep a nesting", "a configuration has four levels")
            return None
        except yaml.YAMLError as error:
            if not known:
                self.wrong(None, f"is not YAML: {' '.join(str(error).split())}", "keep to printable characters")
            return None
        if node is None:
            return None
        return Mark("", node.start_mark.line + 1, node)

    def _not_yaml(self, error: yaml.MarkedYAMLError) -> None:
        opened = "quoted scalar" in (error.context or "")
        at = error.context_mark if opened else error.problem_mark or error.context_mark
        mark = Mark("", at.line + 1 if at else 1, yaml.ScalarNode("", ""))
        if opened:
            self.wrong(mark, "is not YAML: a quote that opens here does not close", "close it on the same line")
        else:
            self.wrong(mark, f"is not YAML: {error.problem}", "check indentation, colons and quotes in this line and before")

    # One value each; None when it was wrong (and said so).

    def mapping(
        self, mark: Mark, allowed: Sequence[str] | None, *, later: Sequence[str] = (), what: str = "a mapping"
    ) -> dict[str, Mark] | None:
        """Key -> value. Duplicate and unknown keys are mistakes (`allowed` None: any key goes; `later`: known, never offered)."""
        if not isinstance(mark.node, yaml.MappingNode):
            self.wrong(
                mark, f"is {_kind(mark.node)}, not {what}", f"keys are {', '.join(allowed)}" if allowed else "write `key: value`"
            )
            return None
        found: dict[str, Mark] = {}
        before = ""
        for key, child in self._pairs(mark):
            if key in found:
                self.wrong(child, f"is given twice, first in line {found[key].line}", "keep one of them")
            elif allowed is None or key in allowed or key in later:
                found[key] = child
            elif before in found and key.isdigit() and not self.text_or_none(child):  # {lat: 6,51} is {lat: 6, 51: null}
                self._comma(found[before], key)
            else:
                self.wrong(child, "unknown key", f"{nearest(key, allowed)}keys here are {', '.join(allowed)}")
            before = key
        return found

    def _comma(self, mark: Mark, fraction: str) -> None:
        whole = self.text_or_none(mark)
        self.wrong(mark, f"`{whole},{fraction}` is not a number", f"write {whole}.{fraction}")

    def _pairs(self, mark: Mark) -> Iterator[tuple[str, Mark]]:
        for key, value in mark.node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            path = f"{mark.key}.{name}" if mark.key else name
            yield name, Mark(path, key.start_mark.line + 1, value)

    def text_or_none(self, mark: Mark) -> str:
        """What is written there, "" for nothing or for more than one value. Reports no mistake."""
        return str(mark.node.value) if isinstance(mark.node, yaml.ScalarNode) else ""

    def peek(self, mark: Mark, key: str) -> str:
        """The text under a key of a mapping, "" when there is none. Reports no mistake."""
        if not isinstance(mark.node, yaml.MappingNode):
            return ""
        return next((self.text_or_none(child) for name, child in self._pairs(mark) if name == key), "")

    def is_mapping(self, mark: Mark) -> bool:
        return isinstance(mark.node, yaml.MappingNode)

    def items(self, mark: Mark, *, example: str) -> list[Mark] | None:
        if not isinstance(mark.node, yaml.SequenceNode):
            self.wrong(mark, f"is {_kind(mark.node)}, not a list", f"write {example}")
            return None
        return [Mark(f"{mark.key}[{i}]", node.start_mark.line + 1, node) for i, node in enumerate(mark.node.value, 1)]

    def text(self, mark: Mark, *, example: str = "") -> str | None:
        """What is written there, as text."""
        node, allowed = mark.node, f"write {example}" if example else "write one value"
        if not isinstance(node, yaml.ScalarNode):
            self.wrong(mark, f"is {_kind(node)}, not one value", allowed)
            return None
        said = str(node.value)
        if node.tag == f"{_YAML_TAG}null" or not said.strip():
            self.wrong(mark, "is empty", f"{allowed}, or leave the key out")
        elif not str(node.tag).startswith(_YAML_TAG):
            self.wrong(mark, f"has the tag {node.tag}", "write the value without a tag")
        elif node.tag == f"{_YAML_TAG}bool" and said.lower() not in ("true", "false"):
            self.wrong(mark, f"`{said}` is a boolean of YAML 1.1", f'write true or false, or "{said}" in quotes')
        else:
            return said
        return None

    def pattern(self, mark: Mark, pattern: str, *, allowed: str) -> str | None:
        said = self.text(mark)
        if said is not None and not re.fullmatch(pattern, said):
            self.wrong(mark, f"`{said}` will not do", allowed)
            return None
        return said

    def choice(self, mark: Mark, allowed: Iterable[str]) -> str | None:
        names = list(allowed)
        said = self.text(mark, example=" or ".join(names))
        if said is not None and said not in names:
            self.wrong(mark, f"`{said}` is not known here", f"{nearest(said, names)}allowed are {', '.join(names)}")
            return None
        return said

    def truth(self, mark: Mark) -> bool | None:
        said = self.text(mark, example="true or false")
        if said is not None and said not in ("true", "false"):
            self.wrong(mark, f"`{said}` is no boolean", "write true or false")
            return None
        return None if said is None else said == "true"

    def number(self, mark: Mark, lo: float, hi: float, *, whole: bool = False) -> float | None:
        said = self.text(mark, example="a number")
        if said is None:
            return None
        between = f"a {'whole ' if whole else ''}number from {lo:g} to {hi:g} is allowed"
        if not _NUMBER.match(said) or (whole and "." in said):
            comma = said.replace(",", ".")
            meant = f"write {comma}; " if comma != said and _NUMBER.match(comma) else ""
            self.wrong(mark, f"`{said}` is not a {'whole ' if whole else ''}number", meant + between)
            return None
        if not lo <= float(said) <= hi:
            self.wrong(mark, f"{said} is out of range", between)
            return None
        return float(said)

    def time_s(self, mark: Mark, lo_s: float, hi_s: float, *, example: str) -> float | None:
        """A duration [s]."""
        return self._quantity(mark, "time", TIMES, lo_s, hi_s, example)

    def size_bytes(self, mark: Mark, lo: int, hi: int, *, example: str) -> int | None:
        size = self._quantity(mark, "size", SIZES, lo, hi, example)
        return None if size is None else int(size)

    def _quantity(self, mark: Mark, kind: str, units: Mapping[str, float], lo: float, hi: float, example: str) -> float | None:
        said = self.text(mark, example=example)
        if said is None:
            return None
        allowed, parts = f"units are {' '.join(units)}", _QUANTITY.match(said.strip())
        if not parts:
            self.wrong(mark, f"`{said}` is no {kind}", f"write a number and a unit, as in {example}; {allowed}")
        elif not parts[2]:
            unit = "s" if kind == "time" else "MiB"
            self.wrong(mark, f"`{said}` has no unit", f"write {said}{unit}; {allowed}")
        elif parts[2] not in units:
            other = {**dict.fromkeys(TIMES, "time"), **dict.fromkeys(SIZES, "size")}.get(parts[2])
            why = f"`{said}` is a {other}, not a {kind}" if other else f"`{parts[2]}` is no unit of {kind}"
            self.wrong(mark, why, f"{_same_letters(parts[2], units)}{allowed}, as in {example}")
        elif not lo <= (value := float(parts[1]) * units[parts[2]]) <= hi:
            self.wrong(mark, f"{said} is out of range", f"from {_say(lo, units)} to {_say(hi, units)} is allowed")
        else:
            return value
        return None


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean X? `, or nothing."""
    from difflib import get_close_matches  # 4 ms at start-up, needed after a mistake only

    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]}? " if near else ""


def _same_letters(unit: str, units: Iterable[str]) -> str:
    """`write MiB: ` for mib and MB: the unit a person meant."""
    flat = unit.lower().replace("i", "")
    meant = [u for u in units if u.lower().replace("i", "") == flat or (unit.lower().startswith(u) and u not in ("ms", "m"))]
    return f"did you mean {meant[0]}? " if meant else ""


def _say(value: float, units: Mapping[str, float]) -> str:
    for unit, factor in reversed(list(units.items())):
        if value >= factor and (value / factor).is_integer():
            return f"{value / factor:g}{unit}"
    unit, factor = next(iter(units.items()))
    return f"{value / factor:g}{unit}"


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "empty" if node.tag == f"{_YAML_TAG}null" else f"`{node.value}`"
