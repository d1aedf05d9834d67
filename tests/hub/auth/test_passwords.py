"""Passwords: hashed two at a time, the same for nobody as for somebody; weak and stolen ones refused without a network."""

import threading
from contextlib import ExitStack
from hashlib import sha1
from pathlib import Path
from time import perf_counter

import pytest

from hub.auth.passwords import AT_ONCE, WAITING, Hasher
from hub.auth.weakness import FILE, breached, weakness
from hub.problems import Problem
from tests.servers import wait_until


@pytest.fixture
def hasher() -> Hasher:
    return Hasher(memory_kib=8, passes=1)


def test_a_password_is_known_again_and_no_other_is(hasher: Hasher) -> None:
    hashed = hasher.hash("dust over nine bridges")
    assert hashed.startswith("$argon2id$")
    assert hasher.verify(hashed, "dust over nine bridges")
    assert not hasher.verify(hashed, "dust over nine bridge")
    assert not hasher.verify("no hash at all", "dust over nine bridges")


def test_the_hubs_own_parameters_are_owasps() -> None:
    assert "$m=19456,t=2,p=1$" in Hasher().hash("x")


def test_nobodys_password_costs_a_hash_and_is_wrong(hasher: Hasher) -> None:
    assert not hasher.verify(None, "dust over nine bridges")
    assert hasher.done == 1


def test_a_hash_of_older_parameters_is_outdated(hasher: Hasher) -> None:
    assert not hasher.outdated(hasher.hash("x"))
    assert hasher.outdated(Hasher(memory_kib=16, passes=1).hash("x"))


def test_letters_typed_on_another_keyboard_are_the_same_and_nothing_is_cut_off(hasher: Hasher) -> None:
    assert hasher.verify(hasher.hash("caf\u00e9 d'Ibadan"), "cafe\u0301 d'Ibadan")
    long = "x" * 127
    assert not hasher.verify(hasher.hash(long + "a"), long + "b")
    assert hasher.verify(hasher.hash("a\0b \u202e🌍"), "a\0b \u202e🌍")


def test_whoever_finds_too_many_waiting_is_asked_to_come_again(hasher: Hasher) -> None:
    release, inside = threading.Event(), threading.Semaphore(0)

    def occupy() -> None:
        with hasher.turn():
            inside.release()
            release.wait(10)

    holders = [threading.Thread(target=occupy) for _ in range(AT_ONCE + WAITING)]
    for holder in holders:
        holder.start()
    for _ in range(AT_ONCE):
        assert inside.acquire(timeout=5)
    wait_until(lambda: hasher._places._value == 0, "all places taken")
    assert not inside.acquire(blocking=False)
    with pytest.raises(Problem, match="too many passwords") as refused:
        hasher.hash("x")
    assert (refused.value.kind.status, refused.value.headers["Retry-After"]) == (503, "2")
    release.set()
    for holder in holders:
        holder.join(5)
    assert hasher.hash("x")


ABOUT = ("ada.okafor@unilag.example", "Ada Okafor")


@pytest.mark.parametrize(
    "weak",
    ["password", "12345678", "qwertyuiop", "aaaaaaaaaaaa", "P@ssw0rd!", "iloveyou2", "harmattan2026", "Harmattan", "adaokafor1",
     "ada.okafor@unilag.example", "Ada Okafor", "football123", "12345678901234567890", "qwertyuiop1234567890"],
)  # fmt: skip
def test_what_a_guesser_tries_first_is_refused(weak: str, tmp_path: Path) -> None:
    assert weakness(weak, about=ABOUT, data_dir=tmp_path)


@pytest.mark.parametrize(
    "good",
    [
        "dust over nine bridges",
        "kzr4 vvqe 81ux",
        "日本の朝は霧が深い",
        "ìyàwó ńjẹ ẹ̀wà l'ọ́sàn",
        "".join(map(chr, range(33, 161)))[::-7] * 6,
    ],
)
def test_what_is_hard_to_guess_is_taken_whatever_its_characters(good: str, tmp_path: Path) -> None:
    assert weakness(good, about=ABOUT, data_dir=tmp_path) is None


def test_no_password_keeps_the_hub_busy_for_long(tmp_path: Path) -> None:
    begun = perf_counter()
    assert weakness("@(192@{%31(%7[|)(94+\\956|6@)00844|$89|$\\", about=ABOUT, data_dir=tmp_path) is None
    assert perf_counter() - begun < 2, "5 s when it is not cut to pieces"


@pytest.fixture
def stolen(tmp_path: Path) -> list[str]:
    """A thousand stolen passwords in a file as it is published: sorted, with counts, CRLF."""
    passwords = [f"stolen {number}" for number in range(1000)]
    lines = sorted(f"{sha1(one.encode(), usedforsecurity=False).hexdigest().upper()}:{len(one) * 7}" for one in passwords)
    (tmp_path / FILE).write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    return passwords


def test_a_stolen_password_is_found_in_a_sorted_file_wherever_it_stands(stolen: list[str], tmp_path: Path) -> None:
    path = tmp_path / FILE
    assert all(breached(one, path) for one in stolen)
    assert not any(breached(f"other {number}", path) for number in range(300))
    why = weakness("stolen 7", about=(), data_dir=tmp_path) or weakness("stolen 999", about=(), data_dir=tmp_path)
    assert why is not None


def test_a_stolen_password_that_nobody_would_guess_is_refused_by_the_file_alone(tmp_path: Path) -> None:
    hard = "dust over nine bridges"
    assert weakness(hard, about=(), data_dir=tmp_path) is None
    (tmp_path / FILE).write_text(sha1(hard.encode(), usedforsecurity=False).hexdigest().upper())
    assert weakness(hard, about=(), data_dir=tmp_path) == "it is in a list of stolen passwords; take another"
    with ExitStack() as stack:
        stack.callback((tmp_path / FILE).unlink)
        (tmp_path / FILE).write_bytes(b"")
        assert not breached(hard, tmp_path / FILE)
