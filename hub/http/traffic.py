"""Answered requests in; their counts and times by route out."""

from collections import Counter, defaultdict


class Traffic:
    """Requests answered, by method, route and status; seconds spent, by route. For /metrics."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        self.requests[method, route, status] += 1
        self.seconds[route] += seconds
