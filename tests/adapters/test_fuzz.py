"""Fuzz, always: every grammar, its framing and the YAML loader under hypothesis. The long form is `scripts/prove fuzz`."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.proofs.fuzz import TARGETS, seeds


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60)
@given(data=st.data())
def test_nothing_but_declared_faults_comes_of_any_bytes(name: str, data: st.DataObject) -> None:
    """A good input cut, overwritten and repeated, or bytes out of nowhere."""
    seed = data.draw(st.sampled_from(seeds(name)))
    cut = data.draw(st.integers(0, len(seed)))
    noise = data.draw(st.binary(max_size=40))
    TARGETS[name](
        data.draw(st.sampled_from([seed[:cut] + noise + seed[cut:], seed[:cut] + noise, noise + seed, seed * 2, noise]))
    )


@given(st.text(alphabet="abc: -[]{}&*!|>'\"\n#0?,.%@", max_size=200))
def test_any_text_is_a_profile_or_its_mistakes(text: str) -> None:
    TARGETS["profile"](text.encode())


@pytest.mark.parametrize("name", TARGETS)
def test_every_seed_is_taken(name: str) -> None:
    assert seeds(name)
    for seed in seeds(name):
        TARGETS[name](seed)
