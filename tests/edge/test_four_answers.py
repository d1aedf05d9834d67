"""No data, warming up, an error and zero: four answers of one real line, four things in `read`, `tail`, `status` and the rows."""

import json
import os
import pty
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.cli import run_command
from edge.config import load
from edge.control import ask
from tests.edge.test_daemon import running, states

PROFILE = """profile: acme.dust
models: [Dust]
source: made up
link: {reply_timeout_s: 1}
ask: 51
wire: {grammar: frame, start: aa bb, length: 5, check: {sum: sum8, at: 4}}
states:
  no_data: {at: 2, bytes: ff ff}
  error: {at: 2, bytes: ff fe}
  warming_up: {at: 2, bytes: ff fd}
fields: {pm2_5: {at: 2, unit: ug/m3}}
"""
WORDS = {"no_data": 0xFFFF, "error": 0xFFFE, "warming_up": 0xFFFD, "ok": 0}


class Dust(threading.Thread):
    """The far end of a pseudo-terminal: answers each Q with its word."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        path.symlink_to(os.ttyname(self.slave))
        self.word = 0
        self.start()

    def run(self) -> None:
        while True:
            try:
                asked = os.read(self.master, 100).count(b"Q")
            except OSError:
                return
            body = b"\xaa\xbb" + self.word.to_bytes(2, "big")
            os.write(self.master, (body + bytes((sum(body) & 0xFF,))) * bool(asked))


@pytest.fixture
def dust(tmp_path: Path) -> Iterator[Dust]:
    (tmp_path / "profiles" / "acme").mkdir(parents=True)
    (tmp_path / "profiles" / "acme" / "dust.yaml").write_text(PROFILE)
    made = Dust(tmp_path / "ttyUSB0")
    yield made
    os.close(made.slave)
    os.close(made.master)


@pytest.mark.parametrize("state", WORDS)
def test_read_tells_them_apart(state: str, dust: Dust, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dust.word = WORDS[state]
    at = f"serial:{tmp_path / 'ttyUSB0'}"
    code = run_command(["read", "--profile", "acme.dust", "--at", at, "--profiles", str(tmp_path / "profiles"), "--json"])
    live = json.loads(capsys.readouterr().out)
    assert (live["state"], code) == (state, 0 if state == "ok" else 1)
    assert live["values"] == ({"pm2_5": 0.0} if state == "ok" else {})
    assert bool(live["why"]) == (state != "ok")


def test_the_daemon_tells_them_apart_and_sends_each_on(dust: Dust, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "gateway: lagos-01\nstore: {path: outbox.db}\ncontrol: edge.sock\nprofiles: [profiles]\nsensors:\n"
        '  - {id: pm, profile: acme.dust, at: "serial:ttyUSB0", every: 200ms}\n'
    )
    with running(load(file)) as daemon:
        assert daemon.until("pm", "ok")["values"] == {"pm2_5": 0.0}
        for state in ("no_data", "error", "warming_up", "ok"):
            dust.word = WORDS[state]
            shown = daemon.until("pm", state)
            assert bool(shown["why"]) == (state != "ok")
        tailed = [line.get("state", "ok") for line in ask(tmp_path / "edge.sock", {"ask": "tail", "sensor": "pm", "n": 100})]
        told = [state for state in dict.fromkeys(tailed) if state != "garbage"]
        assert told == ["ok", "no_data", "error", "warming_up"]
    assert [state for state in states(tmp_path, "pm") if state != "garbage"] == ["no_data", "error", "warming_up", "ok"]
