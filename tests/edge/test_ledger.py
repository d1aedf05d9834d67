"""The gateway's side of the ledger, step by step: paging, holes, what comes first, whose word counts."""

from edge.ledger import PAGE, Ledger, SayHello, SendRows
from readings.messages import Ack, Answer, Hello, Window
from readings.ranges import Ranges

OPEN = Window(4, 32768)


def ledger(**streams: int) -> Ledger:
    it = Ledger(card="c", version="1", nonce=iter(map(str, range(10_000))).__next__)
    it.opened([(name, 1, hi) for name, hi in streams.items()], sum(streams.values()))
    return it


def started(it: Ledger, rows: int = 3) -> Ledger:
    it.started("now", None)
    it.committed(1, rows)
    it.flushed()
    it.connected()
    return it


def hello(it: Ledger, now_s: float = 0.0) -> Hello:
    want = it.wants(now_s)
    assert isinstance(want, SayHello)
    return want.hello


def answer(
    it: Ledger, said: Hello, now_s: float = 0.0, *, incarnation: str = "i", held: int | dict[str, int] = 0, wait_s: int = 0
) -> None:
    known = {s: held if isinstance(held, int) else held.get(s, 0) for s, _, _ in said.streams}
    sets = {s: [(1, hi)] for s, hi in known.items() if hi}
    it.answered(Answer(said.nonce, incarnation, 1_764_000_000_000, sets, {}, {}, OPEN, wait_s), now_s)


def sent(it: Ledger, now_s: float = 0.0) -> list[tuple[str, int, int]]:
    """Everything that the ledger sends now."""
    out = []
    while (want := it.wants(now_s)) is not None:
        assert isinstance(want, SendRows)
        it.sent(want, want.hi, now_s)
        out.append((want.stream, want.lo, want.hi))
    return out


def test_250_streams_are_greeted_in_pages_oldest_first_and_none_is_sent_before_its_answer() -> None:
    it = started(ledger(**{f"s{n:03}": 5 for n in range(250)}))
    seen: list[str] = []
    pages = []
    while (want := it.wants(0.0)) is not None:
        if isinstance(want, SendRows):
            assert want.stream in {*seen, "now"}
            it.sent(want, want.hi, 0.0)
            continue
        names = [s for s, _, _ in want.hello.streams]
        pages.append((len(names), want.hello.more))
        assert names[-1] == "now"
        seen += names[:-1]
        answer(it, want.hello)
    assert pages == [(PAGE + 1, True), (PAGE + 1, True), (51, False)]
    assert seen == [f"s{n:03}" for n in range(250)]


def test_after_all_pages_every_stream_is_sent() -> None:
    it = started(ledger(**{f"s{n:03}": 5 for n in range(250)}))
    while isinstance(want := it.wants(0.0), SayHello):
        answer(it, want.hello)
    got: set[str] = set()
    now_s = 0.0
    while it.pending():
        if isinstance(want, SendRows):
            it.sent(want, want.hi, now_s)
            got.add(want.stream)
            it.acked(Ack("i", want.stream, (want.lo, want.hi), [(want.lo, want.hi)], [], OPEN), now_s)
        now_s += 0.01
        want = it.wants(now_s)
    assert len(got) == 251


def test_streams_that_are_safe_are_left_out_of_the_next_hello() -> None:
    it = started(ledger(old=5, older=5))
    said = hello(it)
    it.answered(Answer(said.nonce, "i", 0, {"old": [(1, 5)]}, {}, {"old": [(1, 5)]}, OPEN, 0), 0.0)
    assert [s for s, _, _ in hello(it, 3600.0).streams] == ["older", "now"]
    assert it.all_safe()["old"] == Ranges.span(1, 5)


def test_numbers_that_have_left_are_neither_pending_nor_sent_and_messages_split_at_the_hole() -> None:
    it = Ledger(card="c", version="1", nonce=iter("abcdef").__next__)
    it.opened([("old", 2, 20)], 20, {"old": Ranges([(3, 10)])})
    started(it)
    assert it.pending() == 12 + 2
    said = hello(it)
    assert said.streams[0] == ("old", 2, 20)
    answer(it, said)
    assert sent(it) == [("now", 1, 3), ("old", 2, 2), ("old", 11, 20)]


def test_a_message_in_flight_is_rebuilt_from_what_is_left() -> None:
    it = started(ledger(old=20))
    answer(it, hello(it))
    assert sent(it) == [("now", 1, 3), ("old", 1, 20)]
    it.evicted("old", Ranges([(1, 7), (9, 9)]))
    assert sent(it) == [("old", 8, 8), ("old", 10, 20)]
    assert it.pending() == 3 + 12


def test_a_stream_that_left_altogether_is_forgotten_even_while_it_is_asked_about() -> None:
    it = started(ledger(old=20, other=3))
    said = hello(it)
    it.evicted("old", Ranges.span(1, 20))
    answer(it, said)
    assert sent(it) == [("now", 1, 3), ("other", 1, 3)]
    assert [s for s, _, _ in hello(it, 3600.0).streams] == ["other", "now"]


def test_eviction_of_the_highest_numbers_does_not_make_the_hub_a_liar() -> None:
    it = started(ledger(old=20))
    it.evicted("old", Ranges.span(15, 20))
    answer(it, hello(it), held={"old": 20, "now": 3})
    assert it.alarms == []
    assert it.pending() == 0


def test_an_answer_beyond_the_end_says_that_the_storage_lied() -> None:
    it = started(ledger(old=20))
    answer(it, hello(it), held={"old": 21})
    assert [(a.name, a.content) for a in it.alarms] == [("storage_lied", {"stream": "old", "end": 20, "told": 21})]


def test_salvaged_streams_are_greeted_at_once_and_then_sent_first() -> None:
    it = started(ledger(old=5))
    answer(it, hello(it), held={"old": 5, "now": 3})
    assert it.wants(1.0) is None
    it.found({"lost": (Ranges([(1, 3), (7, 9)]), 9)})
    said = hello(it, 1.0)
    assert said.streams == [("lost", 1, 9), ("old", 1, 5), ("now", 1, 3)]
    answer(it, said, held={"lost": 9, "old": 5, "now": 3})
    assert it.alarms == []
    assert it.pending() == 0
    it.found({"more": (Ranges.span(1, 2), 2)})
    answer(it, hello(it, 2.0), held={"lost": 9, "old": 5, "now": 3})
    assert sent(it, 2.0) == [("more", 1, 2)]


def test_the_anchor_of_a_boot_goes_before_its_rows_also_from_another_stream() -> None:
    it = started(ledger(first=20, second=8))
    answer(it, hello(it))
    want = it.wants(0.0)
    assert isinstance(want, SendRows)
    assert it.schema_first(want, []) is want
    anchor = it.schema_first(want, [], ("second", 8))
    assert (anchor.stream, anchor.lo, anchor.hi) == ("second", 8, 8)
    it.sent(anchor, 8, 0.0)
    assert it.schema_first(want, [], ("second", 8)) is want, "it is on its way"
    assert it.schema_first(want, [], ("unanswered", 1)) is want
    own = it.schema_first(want, [], (want.stream, want.lo + 1))
    assert own is want, "it goes with the rows themselves"


def test_an_answer_within_10_s_of_its_hello_tells_the_time_a_later_one_does_not() -> None:
    it = started(ledger())
    answer(it, hello(it, 0.0), 4.0)
    assert it.hub_time is not None
    assert (it.hub_time.wall_ms, it.hub_time.error_ms) == (1_764_000_002_000, 2001)
    late = started(ledger())
    answer(late, hello(late, 0.0), 10.5)
    assert late.hub_time is None
    assert late.answered_once


def test_an_answer_to_somebody_elses_nonce_counts_for_nothing() -> None:
    it = started(ledger(old=5))
    said = hello(it)
    it.answered(Answer("other", "i", 0, {"old": [(1, 5)]}, {}, {"old": [(1, 5)]}, OPEN, 0), 0.0)
    assert it.pending() == 8
    assert not it.answered_once
    assert it.all_safe() == {}
    assert said.nonce != "other"


def test_enrolled_while_it_ran_the_rows_of_before_are_backlog_and_the_live_row_goes_first() -> None:
    it = ledger(now=50_000)
    it.started("now", None)
    it.committed(50_001, 50_002)
    it.flushed()
    it.connected()
    answer(it, hello(it))
    assert sent(it)[0] == ("now", 50_001, 50_002)
