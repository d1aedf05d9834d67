"""A new password in; why it will not do, or nothing, out. Offline: common ones by zxcvbn, breached ones by the operator's file.

No rule of composition (ASVS 5.0, 6.2.5): any characters, 8 to 128 of them; what counts is how soon a guesser gets there.
"""

import re
from collections.abc import Sequence
from hashlib import sha1
from math import prod
from pathlib import Path

from zxcvbn import zxcvbn  # type: ignore[import-untyped]  # it has no stubs

from hub.auth.passwords import normal

SHORTEST, LONGEST = 8, 128
ENOUGH = 10**8
"""Guesses: zxcvbn's score 3."""
SCORED = 32
"""zxcvbn takes 10 ms for 32 characters and 640 ms for 72; what is good enough in its beginning is good enough."""
DISGUISES, DISGUISED = frozenset("4@8({[<369&1!|/\\7+0$5%2"), 5
"""zxcvbn tries all ways to read these as letters: 5 s long for 20 different ones. Cut to pieces, 99 in 100 took 0.1 s."""
FILE = "breached-passwords"
_WORD = re.compile(r"\w{3,}")


def weakness(password: str, *, about: Sequence[str], data_dir: Path) -> str | None:
    """Why a password is refused. `about`: the address and name of whose it will be, the first words that a guesser tries."""
    taken = normal(password)
    parts = [(text, *_WORD.findall(text), "".join(_WORD.findall(text))) for text in about]
    words = ["harmattan", *(word.lower() for part in parts for word in part)]
    if any(taken.lower() == word for word in words):
        return "it is your own name or address"
    found = [zxcvbn(piece, user_inputs=[word[:SCORED] for word in words]) for piece in dict.fromkeys(pieces(taken[:SCORED]))]
    if prod(int(one["guesses"]) for one in found) < ENOUGH:
        warning = next((str(one["feedback"]["warning"]) for one in found if one["feedback"]["warning"]), "")
        said = f": {warning.rstrip('.').lower()}" if warning else ""
        return f"it is too easily guessed{said}; take a few words that do not belong together"
    if breached(taken, data_dir / FILE):
        return "it is in a list of stolen passwords; take another"
    return None


def pieces(password: str) -> list[str]:
    """Cut where a sixth different disguise would come. A password with that many is no word in disguise as a whole."""
    found, seen = [""], set[str]()
    for letter in password:
        seen |= {letter} & DISGUISES
        if len(seen) > DISGUISED:
            found, seen = [*found, ""], {letter}
        found[-1] += letter
    return found


def breached(password: str, path: Path) -> bool:
    """Whether a file of sorted SHA-1 lines, as Have I Been Pwned publishes it (`HASH:COUNT`), holds it. No file, no list."""
    wanted = sha1(password.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest().upper().encode()
    try:
        with path.open("rb") as file:
            low, high = 0, file.seek(0, 2)
            while low < high:  # lines that begin in [low, high)
                middle = (low + high) // 2
                file.seek(max(middle - 1, 0))
                if middle:
                    file.readline()  # the rest of the line that `middle` stands in
                begin = file.tell()
                line = file.readline() if begin < high else b""
                found = line[:40].upper()
                if found == wanted:
                    return True
                if not line or found > wanted:
                    high = middle
                else:
                    low = begin + len(line)
    except FileNotFoundError:
        pass
    return False
