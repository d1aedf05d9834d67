"""YAML text in; values that remember their lines out, or every mistake with file, line, key and what is allowed.

A narrow YAML: UTF-8, no byte order mark, no tabs, Unix line ends, no duplicate keys, no anchors, aliases or tags, true and false
only (`no` and `on` of YAML 1.1 are refused as values: a country code would become False). Depth and size are limited.
"""

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec
import yaml
from msgspec import Struct
from msgspec.structs import FieldInfo

from readings.errors import Stop

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_OLD_BOOLEANS = frozenset(("yes", "no", "on", "off"))
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
T = TypeVar("T", bound=Struct)


class Mistake(Struct, frozen=True, order=True):
    """One thing wrong in one file. `key` is the dotted path of the entry; `allowed` says what would be right."""

    file: str
    line: int
    key: str
    why: str
    allowed: str = ""

    def __str__(self) -> str:
        said = f"{self.file}:{self.line}: {self.key}: {self.why}" if self.key else f"{self.file}:{self.line}: {self.why}"
        return f"{said}; {self.allowed}" if self.allowed else said


class Mistakes(Stop):
    """All mistakes of one run. `lines`: one sentence each, `file:line: key: what; what is allowed`."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = sorted(set(mistakes))
        self.lines = [str(mistake) for mistake in self.mistakes]
        super().__init__("\n".join(self.lines))


class Node(Struct, frozen=True):
    """A value with the line it stands on (from 1). Entries of `value` are Nodes where it is a dict or a list."""

    value: Any
    line: int
    lines: dict[str, int] = {}
    """Of a mapping: the line of each key."""

    def plain(self) -> Any:
        """The value without its lines."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        return [node.plain() for node in self.value] if isinstance(self.value, list) else self.value


def merged(base: Node, own: Node, line: int) -> Node:
    """`own` over `base`: mappings entry by entry, all else replaced; null takes an entry away. What is inherited is on `line`."""
    if not isinstance(base.value, dict) or not isinstance(own.value, dict):
        return own
    value, lines = {}, {}
    for key, node in base.value.items():
        if key not in own.value:
            value[key], lines[key] = _moved(node, line), line
    for key, node in own.value.items():
        if node.value is None:
            continue
        value[key] = merged(base.value[key], node, own.lines[key]) if key in base.value else node
        lines[key] = own.lines[key]
    ordered = [key for key in base.value if key in value] + [key for key in own.value if key in value and key not in base.value]
    return Node({key: value[key] for key in ordered}, own.line, {key: lines[key] for key in ordered})


def _moved(node: Node, line: int) -> Node:
    """The same value, every entry of it on one line."""
    if isinstance(node.value, dict):
        return Node({key: _moved(entry, line) for key, entry in node.value.items()}, line, dict.fromkeys(node.value, line))
    return Node([_moved(entry, line) for entry in node.value] if isinstance(node.value, list) else node.value, line)


class Reader:
    """Reads one file and collects what is wrong with it; `done()` raises Mistakes if anything was."""

    def __init__(self, file: Path | str) -> None:
        self.file = str(file)
        self.found: list[Mistake] = []
        self._seen: set[int] = set()

    def wrong(self, line: int, key: str, why: str, allowed: str = "") -> None:
        self.found.append(Mistake(self.file, line, key, why, allowed))

    def done(self) -> None:
        if self.found:
            raise Mistakes(self.found)

    def document(self, raw: bytes) -> Node | None:
        """The top mapping, or None when the text cannot be read at all."""
        text = self._text(raw)
        if text is None:
            return None
        try:
            if not self._shallow(text):
                return None
            top = yaml.compose(text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            why, hint = f"not YAML: {error.problem or error.context}", _hint(error)
            if "nesting depth" in why:  # libyaml's own limit
                why, hint = "too deep", f"at most {MAX_DEPTH} levels"
            self.wrong(mark.line + 1 if mark else 1, "", why, hint)
            return None
        except (yaml.YAMLError, RecursionError) as error:
            self.wrong(1, "", f"not YAML: {error}")
            return None
        if top is None or not isinstance(top, yaml.MappingNode):
            what = "the file is empty" if top is None else "the top is no mapping"
            self.wrong(1, "", what, "write keys with values: `key: value`")
            return None
        return self._node(top, "")

    def _shallow(self, text: str) -> bool:
        """The composer recurses: whether it may start is asked of the events, which do not."""
        depth = 0
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH:
                self.wrong(event.start_mark.line + 1 if event.start_mark else 1, "", "too deep", f"at most {MAX_DEPTH} levels")
                return False
        return True

    def _text(self, raw: bytes) -> str | None:
        if len(raw) > MAX_BYTES:
            self.wrong(1, "", f"{len(raw)} bytes", f"at most {MAX_BYTES} are read")
            return None
        if raw.startswith(b"\xef\xbb\xbf") or raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            self.wrong(1, "", "a byte order mark stands before the text", "save it as UTF-8 without BOM")
            return None
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            self.wrong(raw.count(b"\n", 0, error.start) + 1, "", "not UTF-8", "save it as UTF-8")
            return None
        before = len(self.found)
        for number, line in enumerate(text.split("\n"), 1):
            if "\t" in line.partition("#")[0]:
                self.wrong(number, "", "a tab", "YAML is indented with spaces")
        if "\r" in text:
            self.wrong(text[: text.index("\r")].count("\n") + 1, "", "a carriage return", "save it with Unix line ends (LF)")
        return text if len(self.found) == before else None

    def _node(self, node: yaml.Node, path: str) -> Node:
        line = node.start_mark.line + 1
        if id(node) in self._seen:  # a shared node: ten lines of them would unfold to gigabytes
            self.wrong(line, path, "an alias of something above", "anchors and aliases are not read")
            return Node(None, line)
        self._seen.add(id(node))
        if isinstance(node, yaml.CollectionNode) and node.tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            self.wrong(line, path, f"the tag {node.tag}", "tags are not read")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            items = [self._node(item, f"{path}[{at}]") for at, item in enumerate(node.value)]
            return Node(items, line)
        if isinstance(node, yaml.ScalarNode):
            return Node(self._scalar(node, path, line), line)
        raise TypeError(f"{type(node)} is no YAML node")

    def _mapping(self, node: yaml.MappingNode, path: str) -> Node:
        entries: dict[str, Node] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.wrong(line, path, "a key that is no word", "keys are plain words")
                continue
            key = str(key_node.value)
            if key in entries:
                self.wrong(line, _join(path, key), "this key stands here twice", f"the first is on line {lines[key]}")
                continue
            entries[key] = self._node(value_node, _join(path, key))
            lines[key] = line
        return Node(entries, node.start_mark.line + 1, lines)

    def _scalar(self, node: yaml.ScalarNode, path: str, line: int) -> Any:
        text = str(node.value)
        if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.startswith("tag:yaml.org,2002:python"):
            self.wrong(line, path, f"the tag {node.tag}", "tags are not read")
            return None
        if node.style:  # quoted, or a block
            return text
        if text.lower() in _OLD_BOOLEANS:
            self.wrong(
                line, path, f"`{text}` is a boolean to some YAML readers and a word to others", 'true, false, or a "quoted" word'
            )
        return _plain(text)


def _plain(text: str) -> Any:
    """A plain scalar by YAML 1.2's core schema."""
    if text in ("", "~", "null"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if _INTEGER.fullmatch(text) and len(text) < 19:
        return int(text)
    if _FLOAT.fullmatch(text) and not text.lstrip("+-").isdigit():
        return float(text)
    return text


def _hint(error: yaml.MarkedYAMLError) -> str:
    said = f"{error.context} {error.problem}"
    if "undefined alias" in said or "anchor" in said:
        return "anchors and aliases are not read"
    if "mapping values are not allowed" in said:
        return "quote a value that holds a colon and a space"
    return "see the line before, too: an open quote or bracket shows up late"


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


Hook = Callable[[type, Any], Any]


def typed(reader: Reader, node: Node, shape: type[T], *, path: str = "", hook: Hook | None = None) -> T | None:
    """A mapping as a Struct, entry by entry, so that each mistake has its own line. None when anything in it is wrong.

    What is no mapping stands for the one entry that a Struct names as its `shorthand`.
    """
    before = len(reader.found)
    short = getattr(shape, "shorthand", "")
    if short and not isinstance(node.value, dict):
        made = entries(reader, Node({short: node}, node.line, {short: node.line}), shape, path=path, hook=hook)
        reader.found[before:] = [msgspec.structs.replace(mistake, key=path) for mistake in reader.found[before:]]
    else:
        made = entries(reader, node, shape, path=path, hook=hook)
    return shape(**made) if len(reader.found) == before else None


def entries(reader: Reader, node: Node, shape: type[Struct], *, path: str = "", hook: Hook | None = None) -> dict[str, Any]:
    """The right ones among a mapping's entries, by the Struct's field names; the wrong ones are noted."""
    if not isinstance(node.value, dict):
        reader.wrong(node.line, path, f"{_shown(node.plain())} is no mapping", f"keys: {_listed(_keys(shape))}")
        return {}
    fields = _fields(shape)
    made: dict[str, Any] = {}
    for key, entry in node.value.items():
        if key == shape.__struct_config__.tag_field:
            continue
        if key not in fields:
            near = get_close_matches(key, fields, n=1)
            allowed = f"did you mean `{near[0]}`?" if near else f"known: {_listed(_keys(shape))}"
            reader.wrong(node.lines[key], _join(path, key), "an unknown key", allowed)
            continue
        before = len(reader.found)
        value = _entry(reader, entry, fields[key].type, _join(path, key), hook)
        if len(reader.found) == before or isinstance(value, dict):
            made[fields[key].name] = value
    for key, field in fields.items():
        if field.required and key not in node.value:
            reader.wrong(node.line, _join(path, key), "missing", allowed_by(field.type))
    return made


def _entry(reader: Reader, node: Node, wanted: Any, path: str, hook: Hook | None) -> Any:
    inner = _structs(wanted)
    if get_origin(wanted) is tuple and get_args(wanted)[-1:] == (Ellipsis,):
        items = node.value if isinstance(node.value, list) else [node]  # a list of one may stand without its brackets
        many = isinstance(node.value, list) and bool(inner)
        if inner:
            paths = [f"{path}[{at}]" if many else path for at in range(len(items))]
            made = [_entry(reader, item, inner[0], where, hook) for item, where in zip(items, paths, strict=True)]
            return None if None in made else tuple(made)
        node = node if isinstance(node.value, (list, dict)) or node.value is None else Node([node], node.line)
    if isinstance(node.value, dict) and len(inner) > 1:
        return _tagged(reader, node, inner, path, hook)
    if inner and get_origin(wanted) is not dict and (node.value is not None or type(None) not in get_args(wanted)):
        return typed(reader, node, inner[0], path=path, hook=hook)
    if get_origin(wanted) is dict and isinstance(node.value, dict):
        names, kind = get_args(wanted)
        if get_origin(names) is Literal:
            for key in node.value.keys() - set(get_args(names)):
                reader.wrong(node.lines[key], _join(path, key), "an unknown key", allowed_by(names))
        by_key = {key: _entry(reader, entry, kind, _join(path, key), hook) for key, entry in node.value.items()}
        return {key: value for key, value in by_key.items() if value is not None}
    try:
        return msgspec.convert(node.plain(), wanted, dec_hook=hook)
    except msgspec.ValidationError as error:
        why = str(error).partition(" - at ")[0].partition("Invalid enum value")[0] or "is not known"
        said = f"{_shown(node.plain())} {why}".replace(" Expected", ": expected") if not isinstance(node.value, dict) else why
        reader.wrong(node.line, path, said, allowed_by(wanted))
        return None


def _tagged(reader: Reader, node: Node, shapes: Sequence[Any], path: str, hook: Hook | None) -> Any:
    """One of several Structs, told apart by their tag."""
    key = shapes[0].__struct_config__.tag_field
    by_tag = {shape.__struct_config__.tag: shape for shape in shapes}
    named = node.value.get(key)
    if named is None or named.value not in by_tag:
        line, why = (node.line, "missing") if named is None else (named.line, f"{_shown(named.plain())} is not in this version")
        reader.wrong(line, _join(path, key), why, f"one of {_listed(by_tag)}")
        return None
    return typed(reader, node, by_tag[named.value], path=path, hook=hook)


def _structs(wanted: Any) -> list[Any]:
    if isinstance(wanted, type) and issubclass(wanted, Struct):
        return [wanted]
    return (
        [a for a in get_args(wanted) if isinstance(a, type) and issubclass(a, Struct)] if get_origin(wanted) is not dict else []
    )


def _keys(shape: type[Struct]) -> list[str]:
    """Names beginning with a dash are the program's own, never a file's."""
    return list(_fields(shape))


@cache
def _fields(shape: type[Struct]) -> dict[str, FieldInfo]:
    """By key; looking them up evaluates every annotation anew, which took half a second for a profile."""
    fields = msgspec.structs.fields(shape)
    return {field.encode_name: field for field in fields if not field.encode_name.startswith("-")}


def _listed(words: Any) -> str:
    return ", ".join(str(word) for word in words)


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def allowed_by(wanted: Any) -> str:
    """What a type lets through, in words."""
    origin, args = get_origin(wanted), get_args(wanted)
    if origin is Literal:
        return f"one of {_listed(args)}"
    if origin is tuple and args[-1:] == (Ellipsis,):
        return f"a list: {allowed_by(args[0])}"
    if origin is tuple:
        return f"a list of {len(args)}: {_listed(allowed_by(a) for a in args)}"
    if origin in (list, dict):
        return f"{'a list' if origin is list else 'a mapping'}: {allowed_by(args[-1])}"
    if args and hasattr(wanted, "__metadata__"):
        return _bounds(wanted)
    if tagged := _structs(wanted):
        field = tagged[0].__struct_config__.tag_field
        return f"a mapping with {field}: {' or '.join(shape.__struct_config__.tag for shape in tagged)}" if field else "a mapping"
    if args:
        return " or ".join(said for a in args if a is not type(None) and (said := allowed_by(a)))
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return names.get(wanted) or str(getattr(wanted, "allowed", getattr(wanted, "__name__", wanted)))


def _bounds(wanted: Any) -> str:
    meta = wanted.__metadata__[0]
    said = [f"{word} {limit}" for word, limit in (("from", meta.ge), ("above", meta.gt), ("to", meta.le)) if limit is not None]
    return " ".join([allowed_by(get_args(wanted)[0]), *said])
