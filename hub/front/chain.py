"""Hellos in; what they tell of lost and cloned cards out, as events for the admin.

A gateway's streams are a chain: each start names the stream before. A stream that is held and not yet safe, that the gateway no
longer lists and no successor names was lost with its card. `meta` keeps each gateway's listing, since the pages of one hello may
reach several bridges.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from hub.database.engine import Database
from hub.front import ledger
from hub.front.copies import Copies, put
from readings.messages import Hello

log = logging.getLogger(__name__)

CHAIN_BREAK, CLONED, CONFLICT = "chain_break", "card_cloned", "conflict"
ALARMS = (CHAIN_BREAK, CLONED, CONFLICT, "storage_lied", "ack_beyond_end", "card_damaged", "commits_refused")
"""Kinds of event that a person must hear of, the hub's own and those of gateways."""
LISTING = "listing/"
"""A key of `meta` begins with this, then the gateway's id."""
PAGES_MS = 600_000
"""Pages of one hello follow each other within this time."""


class Listing(Struct, frozen=True):
    """`pages`: (when [Unix ms], streams) of a hello that is not complete yet; `complete`: the streams of the newest that was."""

    pages: list[tuple[int, list[str]]] = []
    complete: list[str] | None = None

    def with_page(self, hello: Hello, now_ms: int) -> "Listing":
        """After one more page. Pages stay for their time: one that comes twice must not look like a whole hello."""
        streams = [stream for stream, _, _ in hello.streams]
        pages = [page for page in self.pages if now_ms - page[0] < PAGES_MS]
        if hello.more or pages:
            pages = [*(page for page in pages if page[1] != streams), (now_ms, streams)]
        listed = {stream for _, page in pages for stream in page}.union(streams)
        return Listing(pages, self.complete if hello.more else sorted(listed))


class Chains:
    """What hellos of this process told. The front calls `look` before it registers a hello, then `note` in a transaction."""

    def __init__(self, database: Database, copies: Copies) -> None:
        self._database = database
        self._copies = copies
        self._talk: dict[tuple[int, str], list[str]] = {}

    def look(self, cursor: Any, gateway: int, hello: Hello, now_ms: int) -> "Heard | None":
        """None when a hello tells nothing new."""
        if hello.stream is None:
            return None
        found = [*self._new_card(cursor, gateway, hello), *self._cloned(cursor, gateway, hello)]
        before = self._listing(cursor, gateway)
        after = before.with_page(hello, now_ms)
        return Heard(gateway, found, after, now_ms) if found or after != before else None

    def note(self, cursor: Any, heard: "Heard") -> None:
        """In the transaction that registers the hello, after it."""
        put(self._database, cursor, f"{LISTING}{heard.gateway}", heard.listing)
        found = list(heard.found)
        if heard.listing.complete is not None:
            found += self._lost(cursor, heard.gateway, heard.listing.complete, heard.now_ms)
        for kind, content in found:
            raise_alarm(self._database, cursor, heard.gateway, heard.now_ms, kind, content)

    def _listing(self, cursor: Any, gateway: int) -> Listing:
        cursor.execute(self._database.sql("SELECT value FROM meta WHERE key = ?"), (f"{LISTING}{gateway}",))
        row = cursor.fetchone()
        return msgspec.json.decode(row[0], type=Listing) if row else Listing()

    def _new_card(self, cursor: Any, gateway: int, hello: Hello) -> list["Finding"]:
        """A card that this gateway never had, or that another gateway has."""
        cursor.execute(self._database.sql("SELECT 1 FROM held WHERE gateway = ? AND stream = ?"), (gateway, hello.stream))
        if cursor.fetchone():
            return []
        cursor.execute(self._database.sql("SELECT card FROM held WHERE gateway = ? AND card IS NOT NULL"), (gateway,))
        cards = {card for (card,) in cursor.fetchall()}
        if hello.card in cards:
            return []
        found: list[Finding] = []
        if cards:
            found.append((CHAIN_BREAK, {"why": "new card", "card": hello.card, "before": sorted(cards)}))
        ask = "SELECT DISTINCT g.name FROM held h JOIN gateway g ON g.id = h.gateway WHERE h.card = ? ORDER BY g.name"
        cursor.execute(self._database.sql(ask), (hello.card,))
        if others := [name for (name,) in cursor.fetchall()]:
            found.append((CLONED, {"why": "another gateway has it", "card": hello.card, "gateways": others}))
        return found

    def _cloned(self, cursor: Any, gateway: int, hello: Hello) -> list["Finding"]:
        """Two successors of one stream that speak in turn: one card's image runs twice."""
        if hello.previous is None or hello.stream is None:
            return []
        previous = hello.previous[0]
        ask = "SELECT stream FROM held WHERE gateway = ? AND stream <> ? AND previous LIKE ?"
        cursor.execute(self._database.sql(ask), (gateway, hello.stream, f'["{previous}",%'))
        rivals = [stream for (stream,) in cursor.fetchall()]
        if not rivals:
            return []
        talk = self._talk.setdefault((gateway, previous), rivals[-1:])
        if talk[-1] != hello.stream:
            talk.append(hello.stream)
        del talk[:-4]
        if not ledger.in_turn(talk):
            return []
        return [(CLONED, {"why": "two gateways speak", "card": hello.card, "previous": previous, "streams": sorted(set(talk))})]

    def _lost(self, cursor: Any, gateway: int, listed: Sequence[str], now_ms: int) -> list["Finding"]:
        ask = "SELECT stream, previous, card FROM held WHERE gateway = ? AND ranges <> '[]'"
        cursor.execute(self._database.sql(ask), (gateway,))
        held = {stream: (previous_of(previous), card) for stream, previous, card in cursor.fetchall()}
        cursor.execute(self._database.sql("SELECT previous FROM held WHERE gateway = ? AND previous IS NOT NULL"), (gateway,))
        named = {previous[0] for (text,) in cursor.fetchall() if (previous := previous_of(text))}
        missing = ledger.lost_streams(held, listed, named)
        safe = self._copies.safe(cursor, gateway, missing, now_ms)
        return [(CHAIN_BREAK, {"why": "lost stream", "stream": s, "card": held[s][1]}) for s in missing if s not in safe]


Finding = tuple[str, dict[str, Any]]
"""(kind of event, its content)."""


class Heard(Struct, frozen=True):
    """What a hello told that is to be written."""

    gateway: int
    found: list[Finding]
    listing: Listing
    now_ms: int


def raise_alarm(database: Database, cursor: Any, gateway: int, now_ms: int, kind: str, content: dict[str, Any]) -> None:
    """An event of the hub's own, told once."""
    text = msgspec.json.encode({"event": kind, **content}).decode()
    statement = (
        "INSERT INTO event (gateway, time_ms, kind, content) SELECT g.id, b.at, k.kind, k.content FROM gateway g,"
        " (SELECT CAST(? AS BIGINT) AS at) b, (SELECT CAST(? AS TEXT) AS kind, CAST(? AS TEXT) AS content) k"
        " WHERE g.id = ? AND NOT EXISTS"
        " (SELECT 1 FROM event e WHERE e.gateway = g.id AND e.kind = k.kind AND e.content = k.content)"
    )
    cursor.execute(database.sql(statement), (now_ms, kind, text, gateway))
    if cursor.rowcount:
        log.error("front: alarm kind=%s gateway=%d content=%s", kind, gateway, text)


def previous_of(text: str | None) -> tuple[str, int] | None:
    """What `held.previous` says: [stream, last]. A start row may have said anything."""
    try:
        return msgspec.json.decode(text, type=tuple[str, int]) if text else None
    except msgspec.DecodeError:
        return None


def listings(rows: Iterable[tuple[str, str]]) -> dict[int, list[str]]:
    """Entries of `meta` under LISTING: the streams of each gateway's newest complete hello, by the gateway's id."""
    read = {int(key.removeprefix(LISTING)): msgspec.json.decode(value, type=Listing).complete for key, value in rows}
    return {gateway: streams for gateway, streams in read.items() if streams is not None}
