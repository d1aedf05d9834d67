"""Letters: sent later, tried again, given up; never in the way of whoever asked for them."""

import logging
import threading
from pathlib import Path
from time import perf_counter

import pytest

from hub.mail import QUEUED, Letter, Mailer, Server, send, server_of
from readings.errors import Stop
from tests.hub.auth.post_office import post_office
from tests.servers import free_port, wait_until

ADA = Letter("ada@example.org", "A new password", "Open this link.\n")


def at(url: str) -> Server:
    found = server_of(url, password_file=None, sender=None, public_url="https://hub.example.org")
    assert found is not None
    return found


def test_a_letter_arrives_whole() -> None:
    with post_office() as office:
        send(at(office.url), ADA)
    (came,) = office.letters
    assert [came[name] for name in ("to", "subject", "from")] == [ADA.to, ADA.subject, "harmattan@hub.example.org"]
    assert came["auto-submitted"] == "auto-generated"
    assert came.get_payload().replace("\r\n", "\n") == ADA.text  # type: ignore[union-attr]


def test_a_letter_that_a_server_turns_away_is_tried_again_and_then_given_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hub.mail")
    with post_office(refuses=2) as office:
        mailer = Mailer(at(office.url), again_s=(0.01, 0.01))
        mailer.later(lambda: ADA)
        wait_until(lambda: len(office.letters) == 1, "the third try", 5)
        office.refuses = 3
        mailer.later(lambda: ADA)
        wait_until(lambda: "again=no" in caplog.text, "giving up", 5)
        mailer.close()
    assert len(office.letters) == 1
    assert ADA.to not in caplog.text
    assert caplog.text.count("again=yes") == 4


def test_a_server_that_is_away_holds_nobody_up_and_the_queue_ends_somewhere(caplog: pytest.LogCaptureFixture) -> None:
    mailer = Mailer(at(f"smtp://127.0.0.1:{free_port()}"), again_s=(60.0,))
    begun = perf_counter()
    for _ in range(QUEUED + 50):
        mailer.later(lambda: ADA)
    assert perf_counter() - begun < 5
    wait_until(lambda: "again=yes" in caplog.text, "a try", 5)
    assert "queue full" in caplog.text
    mailer.close()


def test_one_letter_that_cannot_be_written_does_not_stop_the_others() -> None:
    def broken() -> Letter:
        raise RuntimeError("no database")

    with post_office() as office:
        mailer = Mailer(at(office.url), again_s=())
        for write in (broken, lambda: None, lambda: Letter("a\nBcc: b@example.org", "x", "y"), lambda: ADA):
            mailer.later(write)
        wait_until(lambda: len(office.letters) == 1, "the last", 5)
        mailer.close()


def test_without_a_server_nothing_is_written_and_no_thread_begins() -> None:
    mailer, before = Mailer(None), threading.active_count()
    mailer.later(lambda: pytest.fail("it was asked for"))
    assert not mailer.sends
    assert threading.active_count() == before
    mailer.close()


def test_beyond_loopback_nothing_goes_without_tls(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    far = server_of("smtp://ada%40x.org@mail.example.org", password_file=tmp_path / "password", sender=None, public_url=None)
    assert far == Server("mail.example.org", 587, "starttls", "ada@x.org", "secret", "ada@x.org")
    whole = server_of("smtps://mail.example.org", password_file=None, sender="a@b.c", public_url=None)
    assert whole == Server("mail.example.org", 465, "tls", None, None, "a@b.c")
    with post_office() as office:
        plain = Server("127.0.0.1", at(office.url).port, "starttls", None, None, "a@b.c")
        with pytest.raises(OSError, match="STARTTLS"):
            send(plain, ADA)
    assert not office.letters
    with pytest.raises(Stop, match="SMTP_PASSWORD_FILE"):
        server_of("smtp://a@b.c", password_file=tmp_path / "none", sender=None, public_url=None)
