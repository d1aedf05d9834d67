"""How deeply a body nests, told without a parser."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.http.depth import DEEPEST, too_deep

MILLION = 10**6
ANY_JSON = st.recursive(
    st.none() | st.text('[]{}"\\ab') | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text('[{"\\'), inner)
)


def depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@settings(max_examples=60)
@given(ANY_JSON, st.integers(0, 6))
def test_it_counts_as_a_parser_would(value: object, most: int) -> None:
    assert too_deep(json.dumps(value).encode(), most) == (depth(value) > most)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_the_deepest_that_is_allowed_passes_and_one_more_does_not(opening: bytes, closing: bytes) -> None:
    assert not too_deep(opening * DEEPEST + b"1" + closing * DEEPEST)
    assert too_deep(opening * (DEEPEST + 1) + b"1" + closing * (DEEPEST + 1))


@pytest.mark.parametrize(
    "body",
    [
        b"[" * MILLION,
        b"[" * MILLION + b"]" * MILLION,
        b'{"a":' * MILLION,
        b"[" * 31 + b"[[]]" * (MILLION // 2) + b"[",
        b"[" * 40 + b'"' + b'\\"' * MILLION,
        b'"["[' * MILLION,
    ],
    ids=["open", "closed", "objects", "comb", "escapes", "strings"],
)
def test_a_body_made_to_hurt_is_told_at_once(body: bytes) -> None:
    begun = time.process_time()
    assert too_deep(body)
    assert time.process_time() - begun < 1.0  # 0.3 at the worst on a slow machine
