"""What can go wrong, named by what to do about it. An error for a person says what, why, and what to do next.

Trouble
|-- Drop    this one input is bad: count it, flag it, go on
|-- Wait    not yet: warming up, not enrolled, not synced; ask again when due
|-- Retry   the other side or the disk failed: try again with a growing pause
`-- Stop    only a person can mend it: the program ends with `exit_code`
"""


class Trouble(Exception):
    """`what: why; hint`, the hint being the next thing a person should do ("" when there is nothing to do)."""

    exit_code = 1

    def __init__(self, why: str, *, what: str = "", hint: str = "") -> None:
        super().__init__(why)
        self.what = what
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        said = f"{self.what}: {self.why}" if self.what else self.why
        return f"{said}; {self.hint}" if self.hint else said


class Drop(Trouble):
    """One input is unusable. It is counted and nothing stops."""


class Wait(Trouble):
    """There is nothing yet. Ask again when it is due."""


class Retry(Trouble):
    """A device, link or disk failed. Try again with backoff; exit 75 (EX_TEMPFAIL) if the program itself must end."""

    exit_code = 75


class Stop(Trouble):
    """A person has to change something: configuration, permission, a second daemon."""

    exit_code = 2
