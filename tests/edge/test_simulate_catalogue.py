"""The simulator speaks every profile of every grammar, and what it says is understood by that profile."""

import pytest

from adapters.catalogue import Catalogue
from adapters.decode import Reading, decoder
from adapters.profile import Profile, RegisterWire
from edge.day import Day
from edge.voice import Meter, Voice

CATALOGUE = Catalogue.load()
PROFILES = [CATALOGUE.get(profile_id) for profile_id in CATALOGUE.ids()]
NOON = 1_795_608_000_000


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.id)
def test_it_says_what_the_day_feels(profile: Profile) -> None:
    if isinstance(profile.wire, RegisterWire):
        meter = Meter(profile, Day(1, "x"), lambda: NOON)
        request = meter._decoder.requests[0]
        read = meter.read(request.function, request.address, request.count)
        assert read is not None
        assert any(value is not None for value in read[1].values())
        return
    voice = Voice(profile, Day(1, "x"), lambda: NOON)
    results = decoder(profile).feed(voice.say().raw)
    assert [type(result) for result in results] == [Reading] * len(results)
    assert results or not profile.numbers


@pytest.mark.parametrize(
    "profile", [p for p in PROFILES if p.sleep and not isinstance(p.wire, RegisterWire)], ids=lambda profile: profile.id
)
def test_it_sleeps_and_wakes_when_told(profile: Profile) -> None:
    voice = Voice(profile, Day(1, "x"), lambda: NOON)
    for commands, asleep in ((profile.sleep, True), (profile.wake, False)):
        for command in commands:
            assert voice.obey(command.data)[1] == command.answer
        assert voice.asleep is asleep
    assert voice.obey(profile.ask[0].data)[2] if profile.ask else True
