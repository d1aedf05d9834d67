"""What leaves a full card, over random cards: nothing that a row left behind is read by, nothing unsafe without a tombstone."""

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.book import Book, orderly
from edge.eviction import May, Plan, Seen, Shelf, buried, plan, step
from readings.messages import WIRE_INTERVALS
from readings.ranges import Ranges
from readings.row import Row, tombstone_row
from readings.sample import Moment

Card = dict[str, dict[int, Row]]
AT = Moment("boot", 1_000_000, 1, "unsynced")


def row(
    kind: str, seq: int, *, sensor: str | None = None, schema: int | None = None, boot: str = "b", values: object = None
) -> Row:
    return Row(kind, sensor, schema, boot, 1_000_000, seq, "unsynced", values if values is not None else {}, None)  # type: ignore[arg-type]


@st.composite
def cards(draw: st.DrawFn) -> Card:
    """A few streams: a start row, schemas, samples, here and there an anchor, a new schema or a tombstone."""
    card: Card = {}
    for n in range(draw(st.integers(1, 4))):
        boot = f"boot{n // 2}"
        rows = {1: row("event", 1, boot=boot, values={"event": "start"}), 2: row("schema", 2, sensor="a", boot=boot)}
        rows[3] = row("schema", 3, sensor="b", boot=boot)
        now = {"a": 2, "b": 3}
        for seq in range(4, 4 + draw(st.integers(0, 30))):
            kind = draw(st.sampled_from(["sample"] * 8 + ["schema", "anchor", "tombstone", "event"]))
            sensor = draw(st.sampled_from(["a", "b"]))
            if kind == "schema":
                now[sensor] = seq
            said = {"stream": "gone", "ranges": [[seq, seq]], "n": 1, "t0": 1, "t1": 2, "reason": "quota"}
            rows[seq] = row(
                kind,
                seq,
                sensor=sensor if kind in ("sample", "schema") else None,
                schema=now[sensor] if kind == "sample" else None,
                boot=boot,
                values=said if kind == "tombstone" else None,
            )
        card[f"s{n}"] = rows
    return card


def shelf(card: Card) -> Shelf:
    anchors: dict[str, tuple[str, int]] = {}
    for stream, rows in card.items():
        for seq, it in rows.items():
            if it.kind == "anchor":
                anchors.setdefault(it.boot, (stream, seq))
    boots = {stream: next(iter(rows.values())).boot for stream, rows in card.items()}
    return Shelf({s: Ranges.of(rows) for s, rows in card.items()}, list(card)[-1], boots, frozenset(anchors.values()))


def ask(card: Card, may: May, rows: int) -> Plan:
    def read(stream: str, numbers: Ranges) -> list[Seen]:
        return [(seq, card[stream][seq]) for seq in numbers.numbers() if seq in card[stream]]

    return plan(shelf(card), may, rows, read)


@settings(max_examples=100, deadline=None)
@given(cards(), st.integers(1, 40), st.data())
def test_what_is_left_can_be_read_and_what_is_lost_is_named(card: Card, rows: int, data: st.DataObject) -> None:
    safe = {s: Ranges.span(1, data.draw(st.integers(0, 34))) & Ranges.of(held) for s, held in card.items()}
    may = May(safe, drop=data.draw(st.booleans()))
    found = ask(card, may, rows)
    gone = {(s, seq) for s, numbers in found.delete.items() for seq in numbers.numbers()}
    left = {s: {seq: it for seq, it in held.items() if (s, seq) not in gone} for s, held in card.items()}
    for stream, held in left.items():
        assert all(it.schema in held for it in held.values() if it.schema is not None)
        assert not any(it.kind != "anchor" for it in held.values()) or 1 in held or stream not in found.delete
    for stream, seq in shelf(card).anchors:
        if (stream, seq) in gone:
            boot = card[stream][seq].boot
            assert not [s for s, held in left.items() if held and card[s][1].boot == boot]
    named = {(loss.stream, seq) for loss in found.losses for seq in loss.ranges.numbers()}
    unsafe = {(s, seq) for s, seq in gone if seq not in safe[s]}
    assert unsafe <= named
    assert all(key in unsafe or key[0] == "gone" for key in named)
    assert not unsafe or may.drop
    told = {n for s, seq in unsafe if card[s][seq].kind == "tombstone" for n in Ranges(card[s][seq].values["ranges"]).numbers()}
    assert {("gone", n) for n in told} <= named
    assert all(len(loss.ranges.pairs) <= WIRE_INTERVALS for loss in found.losses)


@settings(max_examples=50, deadline=None)
@given(cards(), st.integers(1, 20))
def test_a_card_can_always_be_emptied_down_to_what_grows(card: Card, rows: int) -> None:
    for _ in range(500):
        found = ask(card, May(drop=True), rows)
        if not found:
            break
        assert sum(map(len, found.delete.values())) > 0
        for stream, numbers in found.delete.items():
            for seq in numbers.numbers():
                del card[stream][seq]
            if not card[stream]:
                del card[stream]
    current = list(card)[-1]
    others = [held for stream, held in card.items() if stream != current]
    assert all({it.kind for it in held.values()} == {"anchor"} for held in others), "of the boot that still grows"
    assert {it.kind for it in card[current].values()} <= {"event", "schema", "anchor"}


def test_safe_rows_of_younger_streams_go_before_unsafe_rows_of_older_ones() -> None:
    card: Card = {s: {n: row("event", n) for n in range(1, 20)} for s in ("old", "young", "now")}
    found = ask(card, May({"young": Ranges.span(1, 10)}, drop=True), 5)
    assert found.delete == {"young": Ranges.span(1, 5)}
    assert found.losses == ()


def test_a_step_is_a_thousand_rows_or_a_hundredth_of_a_small_quota_and_always_enough_for_what_waits() -> None:
    assert step(2 << 30, 150, 9000) == 1000
    assert step(1 << 20, 150, 0) == 69
    assert step(1 << 20, 150, 60 * 150) == 120
    assert step(1 << 14, 150, 0) == 16


def test_a_damaged_row_may_have_been_a_tombstone_so_all_that_was_lost_is_told_again() -> None:
    card = Shelf({"now": Ranges.span(1, 9)}, "now", lost={"old": Ranges.span(1, 5), "now": Ranges.span(2, 2)})
    found = buried(card, {"now": Ranges([(4, 4), (20, 20)])})
    assert found.delete == {"now": Ranges.span(4, 4)}
    assert {(loss.stream, str(loss.ranges.pairs), loss.reason) for loss in found.losses} == {
        ("old", "[[1, 5]]", "crc"),
        ("now", "[[2, 2], [4, 4]]", "crc"),
    }
    assert tombstone_row(found.losses[0].content(), AT).kind == "tombstone"


def test_a_book_follows_a_plan_and_forgets_streams_that_left_altogether() -> None:
    book = Book({"old": Ranges.span(1, 5), "now": Ranges.span(1, 9)}, {"old": 5, "now": 9})
    gone = ask({"old": {n: row("event", n) for n in range(1, 6)}, "now": {1: row("event", 1)}}, May(drop=True), 5)
    after = book.after(gone, stream="now", hi=11, anchors={})
    assert list(after.present) == ["now"]
    assert after.produced() == 5 + 11
    assert after.counts.tombstoned == 5
    assert after.absent["old"].told == ("now", 11)


def test_numbers_are_believed_where_a_neighbour_or_a_hole_explains_them() -> None:
    assert orderly([1, 2, 3]) == [True] * 3
    assert orderly([4, 5, 6]) == [True] * 3
    assert orderly([38, 39, 42, 41, 42]) == [True, True, False, True, True]
    assert orderly([38, 39, 44]) == [True, True, False]
    assert orderly([1, 2, 3, 50, 51], Ranges.span(4, 49)) == [True] * 5
    assert orderly([2, 50], Ranges([(1, 1), (3, 49)])) == [True, True]
    assert orderly([]) == []
