"""harmattan-edge as it is typed: what it prints, where, and how it ends."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.cli import main, run_command
from edge.control import LinkState, SensorState, Server, Shown, Snapshot
from edge.outbox import Event, Outbox
from readings.batch import HEADER_BYTES, read_header
from readings.row import crc
from readings.sample import Channel, Moment, Sample, Schema

NOON = 1_795_608_000_000
PM = '{id: pm, profile: plantower.pms5003, at: "serial:/dev/ttyUSB0"}'
STATUS_KEYS = ["gateway", "version", "sensors", "outbox", "uplink", "clock", "disk"]
SENSOR_KEYS = ["id", "state", "time", "age_s", "values", "flags", "why"]
LATER = ["doctor", "top", "replay"]
NOW = [
    "run",
    "check",
    "status",
    "tail",
    "decode",
    "outbox status",
    "outbox export",
    "outbox verify",
    "outbox salvage",
    "simulate",
    "enrol",
    "profiles list",
]


def at(second: int) -> Moment:
    return Moment("boot", second * 10**9, NOON + second * 1000, "unsynced")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """An outbox after one start, four samples of one sensor and an event; its daemon is down."""
    path = tmp_path / "outbox.db"
    outbox = Outbox.open(path, quota_bytes=1 << 24)
    channels = (Channel("pm2_5", "ug/m3", -1), Channel("pm10", "ug/m3", 0))
    outbox.begin("0.1.0", {"name": "lagos-01"}, at(0), [Schema("pm", "plantower.pms5003", "00", "", channels)])
    for second in range(1, 5):
        outbox.put(Sample("pm", at(second), (120 + second, None), (1, 9)))
    outbox.put(Event("sensor", at(5), {"state": "no_answer"}, "pm"))
    outbox.commit()
    outbox.close()
    return path


def configuration(folder: Path, hub: str = "") -> Path:
    path = folder / "gateway.yaml"
    path.write_text(f"gateway: lagos-01\n{hub}store: {{path: outbox.db}}\ncontrol: edge.sock\nsensors: [{PM}]\n")
    return path


class Daemon:
    """A control socket with what the daemon's core would have published."""

    def __init__(self, folder: Path) -> None:
        pm = SensorState("pm", "ok", NOON, time.monotonic() - 2, {"pm2_5": 12.3}, {"pm2_5": "ug/m3"}, {"pm2_5": 1})
        box = SensorState("box", "no_permission", why="/dev/ttyUSB1 may not be opened", hint="add harmattan to group dialout")
        self.seen = Snapshot("lagos-01", "0.1.0", time.monotonic(), (pm, box), 7, 4096, 3, LinkState("online", NOON))
        samples = [Shown(n, "pm", NOON + n, {"pm2_5": n / 10}, {"pm2_5": "ug/m3"}, {"pm2_5": 1}) for n in range(20)]
        self.server = Server(folder / "edge.sock", snapshot=lambda: self.seen, recent=lambda: samples)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path)
    made.server.start()
    yield made
    made.server.stop()


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run_command([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("command", [*LATER, *NOW])
def test_every_command_of_the_contract_answers_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = printed(capsys, *command.split(), "--help")
    assert code == 0
    assert out.startswith(f"Usage: harmattan-edge {command} ")


@pytest.mark.parametrize("command", LATER)
def test_a_command_of_a_later_version_says_so(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = printed(capsys, *command.split(), "--profile", "x", "y")
    assert (code, out) == (2, "")
    assert err.startswith(f"harmattan-edge: {command}: not in this version; ")


@pytest.mark.parametrize(
    ("typed", "begins", "ends"),
    [
        (["nonsense"], "No such command 'nonsense'", "; see harmattan-edge --help"),
        (["status", "--jsn"], "status: No such option '--jsn'", "; see harmattan-edge status --help"),
        (["decode"], "decode: Missing option '--vectors'", "; see harmattan-edge decode --help"),
    ],
)
def test_a_word_mistyped_is_one_line(typed: list[str], begins: str, ends: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = printed(capsys, *typed)
    assert (code, out) == (2, "")
    assert err.startswith(f"harmattan-edge: {begins}")
    assert err.endswith(f"{ends}\n")
    assert err.count("\n") == 1


def test_no_word_at_all_shows_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = printed(capsys)
    assert (code, out) == (2, "")
    assert "\n  status " in err


def test_check_says_every_mistake_on_a_line_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("gateway: lagos-01\nsensors:\n  - {id: pm, profile: plantower.pms503, at: /dev/ttyUSB0, every: 60}\n")
    code, out, err = printed(capsys, "check", path)
    assert (code, out) == (2, "")
    assert [line.split(": ")[:3] for line in err.splitlines()] == [
        ["harmattan-edge", f"{path}:3", f"sensors.pm.{key}"] for key in ("at", "every", "profile")
    ]


def test_check_is_content_with_a_device_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = configuration(tmp_path, 'hub: {mqtt: ["mqtts://hub.example.org"], credential: credential}\n')
    code, out, err = printed(capsys, "check", path)
    assert (code, err) == (0, "")
    assert out.startswith(f"{path}: ok: gateway lagos-01, 1 sensor\n")
    assert "harmattan-edge enrol HUB_URL TOKEN" in out


def test_run_refuses_what_check_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("")
    assert printed(capsys, "run", path)[0] == 2


def test_status_as_json_has_the_contracts_keys(daemon: Daemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = printed(capsys, "status", "--json", "--config", configuration(tmp_path))
    document = json.loads(out)
    assert (code, err) == (1, "")
    assert list(document) == STATUS_KEYS
    assert all(list(sensor) == SENSOR_KEYS for sensor in document["sensors"])
    assert document["sensors"][1]["why"] == "/dev/ttyUSB1 may not be opened; add harmattan to group dialout"
    assert document["outbox"] == {
        "rows": 7, "bytes": 4096, "pending": 3, "produced": 0, "tombstoned": 0, "damaged": 0, "dropped": 0,
    }  # fmt: skip
    assert document["uplink"] == {"state": "online", "since": "2026-11-25T12:00:00.000Z", "next_try_s": None, "why": ""}


def test_status_for_a_person_says_what_to_do(daemon: Daemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = printed(capsys, "status", "--socket", tmp_path / "edge.sock")
    assert code == 1
    assert "pm   ok" in out
    assert "pm2_5 12.3 ug/m3" in out
    assert "-> add harmattan to group dialout" in out


def test_status_is_0_when_nobody_has_anything_to_do(daemon: Daemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.seen = msgspec.structs.replace(daemon.seen, sensors=daemon.seen.sensors[:1])
    assert printed(capsys, "status", "--socket", tmp_path / "edge.sock")[0] == 0


def test_status_of_a_dead_daemon_comes_from_its_outbox(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = printed(capsys, "status", "--json", "--config", configuration(tmp_path))
    document = json.loads(out)
    assert code == 1
    assert list(document) == STATUS_KEYS
    (pm,) = document["sensors"]
    assert (pm["state"], pm["time"], pm["why"]) == ("stopped", "2026-11-25T12:00:04.000Z", "the daemon is not running")
    assert (pm["values"], pm["flags"]) == ({"pm2_5": 12.4, "pm10": None}, {"pm2_5": 1, "pm10": 9})
    assert document["outbox"]["rows"] == 7
    assert document["version"] == "0.1.0"


def test_status_of_a_dead_daemon_tells_a_person_to_start_it(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = printed(capsys, "status", "--store", store)
    assert code == 1
    assert "-> start it: systemctl start harmattan-edge" in out
    assert "pm2_5 12.4 ug/m3  pm10 -" in out


def test_status_of_nothing_names_what_was_tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = printed(capsys, "status", "--config", configuration(tmp_path))
    assert (code, out) == (2, "")
    assert f"no daemon answers at {tmp_path}/edge.sock and there is no outbox at {tmp_path}/outbox.db; start the daemon" in err


def test_tail_shows_the_last_of_one_sensor(daemon: Daemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["tail", "pm", "-n", "2", "--no-follow", "--json", "--socket", tmp_path / "edge.sock"]
    code, out, _ = printed(capsys, *arguments)
    lines = [json.loads(line) for line in out.splitlines()]
    assert (code, [line["values"]["pm2_5"] for line in lines]) == (0, [1.8, 1.9])
    assert list(lines[0]) == ["time", "sensor", "values", "units", "flags"]


def test_tail_of_a_sensor_that_is_not_there_names_those_that_are(
    daemon: Daemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = printed(capsys, "tail", "pn", "--no-follow", "--socket", tmp_path / "edge.sock")
    assert (code, err) == (2, "harmattan-edge: daemon: no sensor pn; sensors here are pm, box\n")


def test_tail_of_a_dead_daemon_comes_from_its_outbox(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = printed(capsys, "tail", "-n", 3, "--store", store)
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == [f"2026-11-25T12:00:0{second}.000Z" for second in (2, 3, 4)]
    assert "pm2_5 12.4 ug/m3" in out


def exported(capsys: pytest.CaptureFixture[str], store: Path, *flags: str) -> list[dict[str, Any]]:
    out = store.parent / "out.ndjson"
    code, shown, said = printed(capsys, "outbox", "export", "--store", store, "--out", out, *flags)
    assert (code, shown, said) == (0, "", "7 rows exported\n")
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_export_writes_each_row_once_with_values_by_parameter(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = exported(capsys, store)
    assert [line["seq"] for line in lines] == [1, 2, 3, 4, 5, 6, 7]
    assert [line["kind"] for line in lines] == ["event", "schema", *["sample"] * 4, "event"]
    assert all(list(line) == ["stream", "seq", "kind", "sensor", "time", "values", "flags", "crc"] for line in lines)
    assert lines[2]["values"] == {"pm2_5": 12.1, "pm10": None}
    assert lines[2]["time"] == "2026-11-25T12:00:01.000Z"


def test_export_adds_the_canonical_row_that_the_crc_covers(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert all(crc(line["canonical"].encode()) == line["crc"] for line in exported(capsys, store, "--canonical"))


def test_export_raw_is_what_travels(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = store.parent / "out.raw"
    assert printed(capsys, "outbox", "export", "--store", store, "--out", out, "--raw")[0] == 0
    header = read_header(out.read_bytes())
    assert (header.lo, header.n) == (1, 7)
    assert len(out.read_bytes()) > HEADER_BYTES


def test_export_of_a_file_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = printed(capsys, "outbox", "export", "--store", tmp_path / "no.db", "--out", tmp_path / "out")
    assert code != 0
    assert f"harmattan-edge: {tmp_path}/no.db: there is no outbox file; " in err
    assert err.count("\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_export_as_root_leaves_nothing_of_roots_beside_the_daemons_file(store: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The file is nobody's; root exports it to where nobody may write."""
    nobody = 65534
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # noqa: S103  nobody must reach the file; pytest's own folders are root's alone
        mine = Path(folder) / "card"
        mine.mkdir()
        shutil.copy(store, mine / "outbox.db")
        for path in (mine, mine / "outbox.db"):
            os.chown(path, nobody, nobody)
        child = os.fork()
        if child == 0:
            os._exit(run_command(["outbox", "export", "--store", f"{mine}/outbox.db", "--out", f"{folder}/out"]))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, capfd.readouterr().err
        assert {path.stat().st_uid for path in mine.iterdir()} == {nobody}
        assert len((Path(folder) / "out").read_text().splitlines()) == 7


def test_enrol_of_a_hub_that_is_not_there_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = printed(capsys, "enrol", "http://127.0.0.1:1", "token", "--out", tmp_path / "credential")
    assert (code, out) == (1, "")
    assert err.startswith("harmattan-edge: enrol: hub 127.0.0.1:1: unreachable: connection refused; ")
    assert not list(tmp_path.iterdir())


def test_profiles_are_listed_shown_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "plantower.pms5003 " in printed(capsys, "profiles", "list")[1]
    assert "\n  pm2_5            ug/m3     0 to 1000\n" in printed(capsys, "profiles", "show", "plantower.pms5003")[1]
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme/dust.yaml").write_text("profile: acme.dust\nmodels: [Dust]\n")
    code, _, err = printed(capsys, "profiles", "check", tmp_path)
    assert code == 2
    assert f"harmattan-edge: {tmp_path}/acme/dust.yaml:1: fields: missing" in err


def test_the_program_itself_reads_a_card_and_stops_at_a_closed_pipe(store: Path) -> None:
    program = Path(sys.executable).with_name("harmattan-edge")
    command = [str(program), "tail", "--no-follow", "--json", "--store", str(store)]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(told.stdout.splitlines()) == 4
    into = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert into.stdout is not None
    into.stdout.close()
    assert (into.wait(), into.stderr.read() if into.stderr else "") == (0, "")


def test_ctrl_c_ends_a_tail_in_peace(daemon: Daemon, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("harmattan-edge")
    with subprocess.Popen(
        [program, "tail", "-n", "1", "--socket", tmp_path / "edge.sock"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        assert "pm2_5 1.9 ug/m3" in tail.stdout.readline()
        tail.send_signal(signal.SIGINT)
        assert (tail.wait(10), tail.stderr.read()) == (0, "")


def test_status_does_not_import_what_it_does_not_need(daemon: Daemon, tmp_path: Path) -> None:
    heavy = ["yaml", "rich", "paho", "serial", "pymodbus", "sqlite3", "adapters", "logging.config", "asyncio"]
    code = (
        "import sys; from edge.cli import run_command; run_command(sys.argv[1:]);"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, "status", "--socket", str(tmp_path / "edge.sock")]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "[]"


def test_the_console_script_exits_with_the_commands_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 2


def test_the_daemon_runs_is_asked_and_stops(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a sensor that is not plugged in, and somebody who starts it twice."""
    path = tmp_path / "gateway.yaml"
    path.write_text(
        "gateway: lagos-01\nstore: {path: outbox.db}\ncontrol: edge.sock\n"
        'sensors: [{id: pm, profile: plantower.pms5003, at: "serial:nowhere", every: 1s}]\n'
    )
    program = Path(sys.executable).with_name("harmattan-edge")
    with subprocess.Popen([program, "run", path], stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        try:
            assert any("sensor=pm state=unplugged" in line for line in running.stderr)
            states = (printed(capsys, "status", "--json", "--config", path) for _ in range(10_000))
            code, out, _ = next(told for told in states if '"starting"' not in told[1])  # snapshots follow within 0.2 s
            assert (code, json.loads(out)["sensors"][0]["state"]) == (1, "unplugged")
            twice = subprocess.run([program, "run", path], capture_output=True, text=True, check=False)
            assert twice.returncode == 2
            assert f"in use by the daemon with pid {running.pid}; stop that one first" in twice.stderr
        finally:
            running.terminate()
        assert running.wait(20) == 0
    assert not (tmp_path / "edge.sock").exists()


def test_a_store_whose_folder_is_missing_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(f"gateway: lagos-01\nstore: {{path: missing/outbox.db}}\ncontrol: edge.sock\nsensors: [{PM}]\n")
    program = Path(sys.executable).with_name("harmattan-edge")
    told = subprocess.run([program, "run", path], capture_output=True, text=True, check=False)
    assert told.returncode == 75
    assert f"harmattan-edge: {tmp_path}/missing: the store's folder is missing; " in told.stderr


def test_outbox_verify_says_ok_of_a_good_one(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = printed(capsys, "outbox", "verify", "--store", store)
    assert (code, out) == (0, f"{store}: ok: 7 good rows in 1 stream\n")
    code, out, _ = printed(capsys, "outbox", "verify", "--json", "--store", store)
    assert (json.loads(out)["rows"], json.loads(out)["damaged"]) == (7, [])


def test_outbox_verify_names_each_row_that_is_not_as_it_was_committed(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(store) as db:
        db.execute("UPDATE row SET raw = replace(raw, 'pm', 'pn') WHERE seq = 4")
        db.execute("DELETE FROM row WHERE seq = 5")
    db.close()
    code, out, _ = printed(capsys, "outbox", "verify", "--store", store)
    assert code == 1
    assert "row 4: its crc does not fit" in out
    assert "row 5: it is not there" in out
    assert "2 rows damaged, 0 samples without schema: 5 good rows in 1 stream" in out


def test_outbox_verify_sees_samples_that_nobody_can_read(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(store) as db:
        db.execute("UPDATE row SET crc = 0 WHERE seq = 2")
    db.close()
    code, out, _ = printed(capsys, "outbox", "verify", "--store", store)
    assert code == 1
    assert "1 row damaged, 4 samples without schema" in out


def test_outbox_salvage_brings_rows_of_a_ruined_file_into_a_new_one(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Outbox.read(store) as reader:
        (stream, _, _), rows = reader.streams()[0], reader.rows(reader.streams()[0][0], 1, 7)
    store.write_bytes(bytes(100) + store.read_bytes()[100:])
    code, _, err = printed(capsys, "outbox", "verify", "--store", store)
    assert (code, "file is not a database" in err) == (75, True)
    new = tmp_path / "rescued.db"
    code, out, _ = printed(capsys, "outbox", "salvage", store, "--store", new)
    assert (code, out) == (0, f"{new}: 7 rows of 1 stream salvaged\n")
    with Outbox.read(new) as reader:
        assert reader.rows(stream, 1, 7) == rows
        assert len(reader.streams()) == 2
    assert printed(capsys, "outbox", "verify", "--store", new)[0] == 0


def test_outbox_salvage_refuses_the_outbox_itself_and_one_that_a_daemon_has(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = printed(capsys, "outbox", "salvage", store, "--store", store)
    assert (code, f"{store}: it is the outbox itself; move it aside first" in err) == (2, True)
    code, _, err = printed(capsys, "outbox", "salvage", tmp_path / "no.db", "--store", store)
    assert (code, "there is no such file" in err) == (75, True)
    with Outbox.open(tmp_path / "busy.db", quota_bytes=1 << 24):
        code, _, err = printed(capsys, "outbox", "salvage", store, "--store", tmp_path / "busy.db")
    assert (code, f"in use by the daemon with pid {os.getpid()}" in err) == (2, True)
