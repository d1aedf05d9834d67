"""Wrong profiles: each file of tests/cases/profiles-*, and every sentence that is said about it."""

from pathlib import Path

import pytest

from adapters.document import Mistakes
from adapters.profile import parse

CASES = sorted((Path(__file__).parents[1] / "cases").glob("profiles-*"))


def test_there_are_ten() -> None:
    assert len(CASES) >= 10


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_every_mistake_is_named_in_one_run(case: Path) -> None:
    (file,) = case.glob("*/*.yaml")
    with pytest.raises(Mistakes) as wrong:
        parse(file.read_bytes(), file.relative_to(case))
    assert wrong.value.lines == (case / "expected").read_text().splitlines()
    assert all(line.startswith(f"{file.relative_to(case)}:") for line in wrong.value.lines)
