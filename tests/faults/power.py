"""The journal of a process's writes in; what a disk may hold after a power cut at any moment out.

A disk keeps all that was synced, and of each file's later writes what its loss model says. Names (unlink, rename) become durable
with the next sync of anything, as on a journaling file system. A disk that lies drops syncs.
"""

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple

Loss = Literal["nothing", "prefix", "subset", "torn", "all"]
LOSSES: tuple[Loss, ...] = ("nothing", "prefix", "subset", "torn", "all")
"""What becomes of writes that were not synced: nothing of them is there, a prefix, any subset, any 512-byte sectors, all."""
SECTOR = 512
HEAD = struct.Struct("<BxHIQ")
SOURCE = Path(__file__).with_name("journal.c")


class Op(NamedTuple):
    """`kind`: w write, t truncate, s sync, u unlink, r rename to `data`."""

    kind: str
    path: str
    offset: int
    data: bytes


def compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc")


def library(folder: Path, cc: str) -> Path:
    """The compiled journal, to be preloaded."""
    built = folder / "journal.so"
    subprocess.run([cc, "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", built, SOURCE, "-ldl"], check=True)
    return built


def environment(built: Path, journal: Path, folder: Path) -> dict[str, str]:
    """For the process whose writes under `folder` are to be journaled."""
    return {**os.environ, "LD_PRELOAD": str(built), "JOURNAL": str(journal), "JOURNAL_FOLDER": f"{folder}/"}


def read(journal: Path, folder: Path) -> list[Op]:
    """The journal's records, paths relative to the folder."""
    raw, at, ops = journal.read_bytes(), 0, []
    skip = len(str(folder)) + 1
    while at < len(raw):
        kind, path_n, data_n, offset = HEAD.unpack_from(raw, at)
        at += HEAD.size
        path, data = raw[at : at + path_n].decode(), raw[at + path_n : at + path_n + data_n]
        at += path_n + data_n
        if chr(kind) == "r":
            data = data[skip:]
        ops.append(Op(chr(kind), path[skip:], offset, data))
    return ops


def honest_or_lying(ops: Sequence[Op], lies: float, chance: Random) -> list[Op]:
    """The same operations, of whose syncs a share did nothing."""
    return [op for op in ops if op.kind != "s" or chance.random() >= lies]


class Disk:
    """Files by name, as a file system has them after some operations."""

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}

    def apply(self, op: Op) -> None:
        if op.kind == "u":
            self.files.pop(op.path, None)
        elif op.kind == "r":
            if (moved := self.files.pop(op.path, None)) is not None:
                self.files[op.data.decode()] = moved
        elif op.kind == "t":
            file = self.files.setdefault(op.path, bytearray())
            file[:] = file[: op.offset].ljust(op.offset, b"\0")
        elif op.kind == "w":
            file = self.files.setdefault(op.path, bytearray())
            if len(file) < op.offset + len(op.data):
                file.extend(bytes(op.offset + len(op.data) - len(file)))
            file[op.offset : op.offset + len(op.data)] = op.data

    def write_to(self, folder: Path) -> None:
        for name, content in self.files.items():
            (folder / name).write_bytes(content)


def after_a_cut(ops: Sequence[Op], loss: Loss, chance: Random) -> Disk:
    """The disk after all these operations and a power cut."""
    synced = _synced(ops)
    disk = Disk()
    pending = [i for i, done in enumerate(synced) if not done]
    kept = _kept(pending, ops, loss, chance)
    for i, op in enumerate(ops):
        if synced[i] or i in kept:
            disk.apply(op)
        elif loss == "torn" and op.kind == "w":
            for part in _sectors(op):
                if chance.random() < 0.5:
                    disk.apply(part)
    return disk


def _synced(ops: Sequence[Op]) -> list[bool]:
    """Whether each operation is durable: a sync of its file came after it; for names, a sync of anything."""
    done, files, anything = [False] * len(ops), set[str](), False
    for i in range(len(ops) - 1, -1, -1):
        op = ops[i]
        if op.kind == "s":
            files.add(op.path)
            anything = done[i] = True
        elif op.kind in "ur":
            done[i] = anything
            if op.kind == "r" and op.data.decode() in files:
                files.add(op.path)
        else:
            done[i] = op.path in files
    return done


def _kept(pending: Sequence[int], ops: Sequence[Op], loss: Loss, chance: Random) -> set[int]:
    if loss == "all":
        return set(pending)
    if loss == "prefix":
        return set(pending[: chance.randrange(len(pending) + 1)])
    if loss == "nothing":
        return set()
    names = [i for i in pending if ops[i].kind in "ur"]
    some = set(names[: chance.randrange(len(names) + 1)])  # a journal keeps the order of names
    return some | {i for i in pending if ops[i].kind in ("wt" if loss == "subset" else "t") and chance.random() < 0.5}


def _sectors(op: Op) -> Iterator[Op]:
    at = 0
    while at < len(op.data):
        upto = min(len(op.data), (op.offset + at) // SECTOR * SECTOR + SECTOR - op.offset)
        yield Op("w", op.path, op.offset + at, op.data[at:upto])
        at = upto
