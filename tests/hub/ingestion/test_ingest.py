"""POST /ingest over real HTTP: each row its own verdict, stored once whatever is sent again, refused with its reason."""

import json
import threading
from random import Random
from time import perf_counter
from typing import Any

import httpx2
import pytest

from hub.answers import rfc3339
from hub.auth.tokens import NetworkRole, Role
from hub.followers.runner import rebuild
from hub.ingestion.refusals import CODES
from hub.ingestion.rejects import Turned, keep
from tests.hub.analytics.test_live import listen
from tests.hub.face import Face, now_ms, problem
from tests.hub.field import content
from tests.hub.ingestion.conftest import keyed, revoke, second_network

NOW = now_ms()
TIME = rfc3339(NOW - 3_600_000)
UNITS = {"pm2_5": "ug/m3", "temperature": "degC"}


def row(minute: int = 0, pm2_5: Any = 12.3, *, sensor: str = "roof", **members: Any) -> dict[str, Any]:
    values = {"pm2_5": pm2_5, "temperature": 27.5}
    time = rfc3339(NOW - 86_400_000 + minute * 5_000)
    return {"sensor": sensor, "time": time, "values": values, "units": UNITS} | members


def post(face: Face, key: str, body: Any) -> httpx2.Response:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    return face.http.post("/api/v1/ingest", content=text, headers=headers, timeout=60)


def verdicts(answer: httpx2.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [result["row"] for result in results] == list(range(len(results)))
    return [result["verdict"] for result in results]


def test_ten_thousand_rows_sent_twice_and_shuffled_are_stored_once(any_face: Face) -> None:
    face, key = any_face, keyed(any_face, "unilag-01")
    rows = [row(n // 4, 5 + n % 300 / 10, sensor=f"roof-{n % 4}") for n in range(10_000)]
    begun = perf_counter()
    first = post(face, key, rows)
    took = [perf_counter() - begun]
    assert first.json()["counts"] == {"stored": 10_000, "duplicate": 0, "revised": 0, "refused": 0}
    Random(1).shuffle(rows)
    rows[77] = {**rows[77], "values": {"pm2_5": 999, "temperature": 27.5}}
    begun = perf_counter()
    second = verdicts(post(face, key, rows))
    took.append(perf_counter() - begun)
    assert second == ["revised" if n == 77 else "duplicate" for n in range(10_000)]
    face.followers.catch_up()
    stored = content(face.database, "sample", "sample_before")
    assert (len(stored["sample"]), len(stored["sample_before"])) == (10_000, 1)
    print(f"{face.database.dialect}: 10,000 rows in {took[0]:.2f} s, again in {took[1]:.2f} s")


def test_what_was_posted_is_read_back_with_its_station_and_judged(face: Face) -> None:
    key = keyed(face, "unilag-01")
    sent = row(0, 12.345, units={"pm2_5": "mg/m3", "temperature": "degF"}, values={"pm2_5": 0.01234, "temperature": 72.5})
    assert verdicts(post(face, key, [sent, row(1, 7000)])) == ["stored", "stored"]
    face.followers.catch_up()
    station = face.get("/api/v1/stations").json()["results"][0]
    assert (station["name"], station["sensors"][0]["name"]) == ("unilag-01", "unilag-01/roof")
    latest = station["sensors"][0]["latest"]
    assert (latest["values"], latest["flags"]) == ({"pm2_5": 7000, "temperature": 27.5}, {"pm2_5": 4, "temperature": 1})
    readings = face.get(f"/api/v1/sensors/{station['sensors'][0]['id']}/readings?from={rfc3339(NOW - 90_000_000)}").json()
    assert readings["units"] == ["", "ug/m3", "", "degC", ""]
    assert readings["rows"][0][1:] == [12.34, 1, 22.5, 1]


def test_what_is_posted_is_heard_live_and_behind_what_the_dashboard_shows(face: Face) -> None:
    key = keyed(face, "unilag-01")
    post(face, key, [row(0), row(1)])
    face.followers.catch_up()
    shown = face.get("/api/v1/dashboard/realtime").json()["last_event_id"]
    post(face, key, [row(2, 77)])
    face.followers.catch_up()
    with listen(face, last=shown) as stream:
        kind, event_id, data = stream.next()
    assert (kind, event_id, data["name"], data["values"]["pm2_5"]) == ("sample", "2.0", "unilag-01/roof", 77)


def test_a_wiped_sample_table_is_made_again_alike(face: Face) -> None:
    key = keyed(face, "unilag-01")
    post(
        face,
        key,
        [row(n % 40, n, values={"pm2_5": n / 8, "co2": 400 + n}, units={"pm2_5": "ug/m3", "co2": "ppm"}) for n in range(90)],
    )
    post(face, key, [row(3, 1)])
    face.followers.catch_up()
    before = content(face.database, "sample", "sample_before", "latest")
    for name in ("samples", "latest"):
        rebuild(face.database, name)
    assert content(face.database, "sample", "sample_before", "latest") == before


def test_equal_rows_within_one_body_are_stored_once(face: Face) -> None:
    key = keyed(face, "unilag-01")
    again = row(0, 12.30, time=row()["time"].replace(".000Z", "+00:00"))
    assert verdicts(post(face, key, [row(), again, row(0, 13)])) == ["stored", "duplicate", "revised"]


def test_two_posts_of_the_same_rows_at_once_store_each_row_once(any_face: Face) -> None:
    face, key = any_face, keyed(any_face, "unilag-01")
    rows = [row(n) for n in range(500)]
    told: list[dict[str, int]] = []
    threads = [threading.Thread(target=lambda: told.append(post(face, key, rows).json()["counts"])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one["stored"] for one in told) == 500
    assert sum(one["duplicate"] for one in told) == 1000


AS_TEXT = f'{{"sensor":"roof","time":"{TIME}","values":{{VALUES}},"units":{{"pm2_5":"ug/m3"}}}}'
BAD: list[tuple[str, Any]] = [
    ("row_malformed", [1]),
    ("row_malformed", {**row(), "flag": 1}),
    ("row_malformed", {"sensor": "roof", "time": TIME}),
    ("row_malformed", row(values=[1])),
    ("row_malformed", row(note="x" * 20_000)),
    ("key_twice", AS_TEXT.replace("VALUES", '"pm2_5":1,"pm2_5":2')),
    ("sensor_malformed", row(sensor="Roof!")),
    ("sensor_malformed", row(sensor="roof\u0000")),
    ("sensor_malformed", {**row(), "sensor": 7}),
    ("sensor_unknown", row(sensor="elsewhere-01/roof")),
    ("sensor_unknown", row(sensor="nobody-01/roof")),
    ("time_malformed", row(time="yesterday")),
    ("time_malformed", row(time="2026-02-30T00:00:00Z")),
    ("time_malformed", row(time=1_764_000_000)),
    ("time_no_offset", row(time="2026-01-01T00:00:00")),
    ("time_past", row(time="1970-01-01T00:00:12Z")),
    ("time_future", row(time=rfc3339(NOW + 3_600_000))),
    ("no_values", row(values={})),
    ("no_values", row(values={"pm2_5": None})),
    ("parameter_unknown", row(values={"pm25": 1})),
    ("unit_missing", row(units={})),
    ("unit_unknown", row(units={"pm2_5": "bananas", "temperature": "degC"})),
    ("unit_unknown", row(units={"pm2_5": "ppb", "temperature": "degC"})),
    ("value_not_number", row(0, True)),
    ("value_not_number", row(0, "12.3")),
    ("value_not_number", row(0, [1])),
    ("value_not_finite", AS_TEXT.replace("VALUES", '"pm2_5":1e999')),
    ("value_too_large", row(0, 2**53 + 1)),
    ("value_too_large", row(0, 10**200)),
    ("value_sentinel", row(0, -999)),
    ("value_sentinel", row(0, 65535)),
]  # fmt: skip


def test_every_bad_row_is_refused_with_its_reason_and_harms_no_other(face: Face) -> None:
    second = second_network(face)
    keyed(face, "elsewhere-01", network=second)
    key = keyed(face, "unilag-01")
    good = [row(n) for n in range(len(BAD) + 1)]
    texts = [json.dumps(good[0])]
    for n, (_, bad) in enumerate(BAD, 1):
        texts += [bad if isinstance(bad, str) else json.dumps(bad), json.dumps(good[n])]
    answer = post(face, key, f"[{','.join(texts)}]")
    assert verdicts(answer) == ["stored", *["refused", "stored"] * len(BAD)]
    refused = answer.json()["results"][1::2]
    assert [one["code"] for one in refused] == [code for code, _ in BAD]
    assert all(one["reason"] for one in refused)
    assert {code for code, _ in BAD} | {"body_unreadable", "device_unnamed"} == set(CODES)
    listed = face.get("/api/v1/networks/1/rejects?limit=20", face.person("op@x.org", networks={1: NetworkRole.OPERATOR}))
    results = listed.json()["results"]
    assert [one["code"] for one in results] == [code for code, _ in reversed(BAD)][:20]
    assert (results[0]["sensor"], results[0]["gateway"], results[0]["route"]) == ("roof", "unilag-01", "/ingest")
    assert json.loads(results[0]["content"])["values"]["pm2_5"] == 65535
    more = face.get(listed.links["next"]["url"], face.token()).json()["results"]
    assert [one["id"] for one in more] == sorted((one["id"] for one in more), reverse=True)
    assert len(results) + len(more) == len(BAD)
    assert all(len(one["content"].encode()) <= 4096 for one in more)
    assert face.context.conditions["ingest"]().facts == {"stored": len(good), "duplicate": 0, "revised": 0, "refused": len(BAD)}


def test_a_row_with_nan_is_refused_and_the_others_are_stored(face: Face) -> None:
    answer = post(face, keyed(face, "unilag-01"), [row(0), row(1, float("nan")), row(2)])
    assert verdicts(answer) == ["stored", "refused", "stored"]
    assert answer.json()["results"][1]["code"] == "value_not_finite"


def test_a_sensors_own_word_for_no_value_is_refused(face: Face) -> None:
    gateway = face.station("unilag-01")
    gateway.schema("box", profile="airgradient.local")
    face.feed(gateway, 3)
    key = keyed(face, "unilag-01")
    said = {"time": TIME, "values": {"co2": -2}, "units": {"co2": "ppm"}}
    answer = post(face, key, [{"sensor": "box", **said}, {"sensor": "pm", **said}])
    assert [one["code"] for one in answer.json()["results"]] == ["value_sentinel", None]


@pytest.mark.parametrize("body", ["", "{", '{"rows": []}', "7", "[1,", "[" * 100_000, b"\xff\xfe"])
def test_a_body_that_is_no_list_of_rows_is_a_problem(face: Face, body: str | bytes) -> None:
    answer = post(face, keyed(face, "unilag-01"), body)
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_too_many_rows_at_once_are_a_problem(face: Face) -> None:
    problem(post(face, keyed(face, "unilag-01"), f"[{','.join(['1'] * 10_001)}]"), 413, "content-too-large")


def test_a_body_of_several_mebibytes_is_taken_whole(face: Face) -> None:
    text = json.dumps([row(n) for n in range(10)])
    answer = post(face, keyed(face, "unilag-01"), text[:-1] + " " * 5_000_000 + "]")
    assert verdicts(answer) == ["stored"] * 10


def test_without_a_key_or_with_one_that_may_not_nothing_is_taken(face: Face) -> None:
    assert face.http.post("/api/v1/ingest", json=[row()]).status_code == 401
    problem(post(face, "0" * 64, [row()]), 401, "unauthorized")
    problem(post(face, keyed(face, "unilag-01", scopes="read"), [row()]), 403, "forbidden")
    key = keyed(face, "unilag-02")
    revoke(face, "unilag-02")
    problem(post(face, key, [row()]), 401, "unauthorized")
    assert content(face.database, "batch") == {"batch": []}


def test_an_operator_posts_for_the_gateways_of_their_networks_only(face: Face) -> None:
    second = second_network(face)
    keyed(face, "unilag-01")
    keyed(face, "elsewhere-01", network=second)
    rows = [row(sensor="unilag-01/roof"), row(sensor="elsewhere-01/roof"), row(sensor="nobody-01/roof"), row()]

    def told(token: str) -> list[str | None]:
        answer = face.http.post("/api/v1/ingest", json=rows, headers={"Authorization": f"Bearer {token}"})
        return [one["code"] for one in answer.json()["results"]]

    unknown = "sensor_unknown"
    assert told(face.person("v@x.org", networks={1: NetworkRole.VIEWER})) == [unknown] * 3 + ["sensor_malformed"]
    assert told(face.person("o@x.org", networks={1: NetworkRole.OPERATOR})) == [None, unknown, unknown, "sensor_malformed"]
    assert told(face.person("a@x.org", role=Role.ADMIN)) == [None, None, unknown, "sensor_malformed"]
    rejects = content(face.database, "reject")["reject"]
    assert {(r[1], r[2]) for r in rejects} == {(1, None)}  # nothing gets into a network whose gateways the sender may not name


def test_rejects_are_seen_by_the_networks_operators_only(face: Face) -> None:
    second = second_network(face)
    path = "/api/v1/networks/1/rejects"
    assert face.get(path).status_code == 401
    problem(face.get(path, face.person("v@x.org", networks={1: NetworkRole.VIEWER})), 403, "forbidden")
    problem(face.get(path, face.person("o@x.org", networks={second: NetworkRole.OPERATOR})), 404, "not-found")
    problem(face.get("/api/v1/networks/999/rejects", face.token()), 404, "not-found")
    assert face.get(path, face.token()).json()["results"] == []


def test_after_a_swap_a_time_decides_whose_row_it_is(face: Face) -> None:
    key = keyed(face, "unilag-01")
    post(face, key, [row(0), row(100)])
    face.followers.catch_up()
    swapped = {"from": rfc3339(NOW - 86_400_000 + 50 * 5_000), "serial": "new"}
    answer = face.http.post("/api/v1/sensors/1/swap", json=swapped, headers={"Authorization": f"Bearer {face.token()}"})
    assert answer.status_code in (200, 201), answer.text
    post(face, key, [row(1), row(101), row(100), row(0)])
    face.followers.catch_up()
    before = content(face.database, "sample", "latest")
    assert [(r[0], (r[1] - NOW + 86_400_000) // 5_000) for r in before["sample"]] == [(1, 0), (1, 1), (2, 100), (2, 101)]
    for name in ("samples", "latest"):
        rebuild(face.database, name)
    assert content(face.database, "sample", "latest") == before


def test_the_newest_rejects_of_each_network_are_kept(face: Face) -> None:
    second = second_network(face)
    with face.database.write() as connection:
        for network, count in ((1, 7), (second, 2)):
            refused = [Turned(network, None, "/ingest", None, "no_values", str(n), b"\0" + b"\xc3" * 5000) for n in range(count)]
            keep(connection, refused, NOW, kept=3)
    found = content(face.database, "reject")["reject"]
    assert [(r[1], r[7]) for r in found] == [(1, "4"), (1, "5"), (1, "6"), (second, "0"), (second, "1")]
    assert all(len(r[8].encode()) <= 4096 and "\0" not in r[8] for r in found)
