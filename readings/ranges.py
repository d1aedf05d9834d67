"""Sets of sequence numbers as a few intervals: [[lo, hi], ...], inclusive, ascending, never touching. Values in, values out."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

Pairs = Sequence[Sequence[int]]


class Ranges:
    """An immutable set of integers >= 1. Cheap when the set is a few intervals, which ours always is."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Iterable[Sequence[int]] = ()) -> None:
        self._pairs: tuple[tuple[int, int], ...] = _normal(pairs)

    @classmethod
    def of(cls, numbers: Iterable[int]) -> "Ranges":
        return cls((n, n) for n in numbers)

    @classmethod
    def span(cls, lo: int, hi: int) -> "Ranges":
        """lo..hi, empty when hi < lo."""
        return _raw(((lo, hi),) if lo <= hi else ())

    @property
    def pairs(self) -> list[list[int]]:
        return [[lo, hi] for lo, hi in self._pairs]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The intervals, not the numbers."""
        return iter(self._pairs)

    def numbers(self) -> Iterator[int]:
        for lo, hi in self._pairs:
            yield from range(lo, hi + 1)

    def __bool__(self) -> bool:
        return bool(self._pairs)

    def __len__(self) -> int:
        """How many numbers."""
        return sum(hi - lo + 1 for lo, hi in self._pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and self._pairs == other._pairs

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __repr__(self) -> str:
        return f"Ranges({self.pairs})"

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._pairs, (number, 1 << 63)) - 1
        return at >= 0 and self._pairs[at][1] >= number

    def covers(self, lo: int, hi: int) -> bool:
        at = bisect_right(self._pairs, (lo, 1 << 63)) - 1
        return at >= 0 and self._pairs[at][1] >= hi

    @property
    def low(self) -> int | None:
        return self._pairs[0][0] if self._pairs else None

    @property
    def high(self) -> int | None:
        return self._pairs[-1][1] if self._pairs else None

    def __or__(self, other: "Ranges") -> "Ranges":
        mine, more = self._pairs, other._pairs
        if not more or not mine:
            return self if mine else other
        gap = more[0][0] - mine[-1][1]
        if gap > 1:
            return _raw((*mine, *more))
        if gap == 1:  # a stream that grows at its end, the usual case
            return _raw((*mine[:-1], (mine[-1][0], more[0][1]), *more[1:]))
        return Ranges((*mine, *more))

    def __and__(self, other: "Ranges") -> "Ranges":
        return _raw(_meet(self._pairs, other._pairs))

    def __sub__(self, other: "Ranges") -> "Ranges":
        mine, less = self._pairs, other._pairs
        if not less or not mine or less[-1][1] < mine[0][0] or less[0][0] > mine[-1][1]:
            return self
        return self & _raw(_complement(less))

    def lowest(self, intervals: int) -> "Ranges":
        """The first few intervals: what fits on the wire."""
        return _raw(self._pairs[:intervals])

    def between(self, lo: int, hi: int) -> "Ranges":
        """The part within lo..hi."""
        first = max(0, bisect_left(self._pairs, (lo, lo)) - 1)
        last = bisect_right(self._pairs, (hi, 1 << 63))
        return _raw(_meet(self._pairs[first:last], ((lo, hi),))) if lo <= hi else _raw(())


def _raw(pairs: Sequence[tuple[int, int]]) -> Ranges:
    made = Ranges.__new__(Ranges)
    made._pairs = tuple(pairs)
    return made


def _normal(pairs: Iterable[Sequence[int]]) -> tuple[tuple[int, int], ...]:
    out: list[tuple[int, int]] = []
    for pair in sorted((int(p[0]), int(p[1])) for p in pairs):
        lo, hi = pair
        if hi < lo:
            raise ValueError(f"[{lo}, {hi}] is no interval: its end lies before its start")
        if out and lo <= out[-1][1] + 1:
            if hi > out[-1][1]:
                out[-1] = (out[-1][0], hi)
        else:
            out.append(pair)
    return tuple(out)


def _meet(left: Sequence[tuple[int, int]], right: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    out, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        lo, hi = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if lo <= hi:
            out.append((lo, hi))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return out


def _complement(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    out, start = [], -(1 << 63)
    for lo, hi in pairs:
        out.append((start, lo - 1))
        start = hi + 1
    out.append((start, 1 << 63))
    return out
