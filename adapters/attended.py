"""A device that obeys commands: opened, woken, put to sleep between samples that are far apart. A Source around a Source.

Warm-up counts from a wake that we made; a device found running is warm. One that keeps silent may be asleep since before our
time: it is woken once and asked again.
"""

import time
from collections import Counter

from adapters.profile import Commands, Profile
from adapters.source import Heard, Source, obey
from adapters.transport.base import DeviceError, Line, NoData, Unanswered, Waking, WarmingUp
from readings.errors import Trouble

WAKE_AGAIN_S = 60.0


class Attended:
    """`lead_s`: so long before its turn it wants to be woken. Used by its port's thread only."""

    def __init__(self, inner: Source, line: Line, profile: Profile, every_s: float) -> None:
        self._inner, self._line, self._profile = inner, line, profile
        self._rests = profile.rest_above_s is not None and every_s > profile.rest_above_s
        self.lead_s = profile.warmup_s if self._rests else 0.0
        self._asleep = self._started = False
        self._warm_at_s = self._wake_again_s = 0.0
        self._fresh = 0

    def open(self) -> None:
        self._line.open()
        try:
            self._inner.open()
        except BaseException:
            self._line.close()
            raise
        self._started = False

    def close(self) -> None:
        """What cannot be said any more is not said: the port may be gone."""
        self._inner.close()
        try:
            for command in self._profile.close if self._started else ():
                obey(self._line, command)
        except Trouble:
            pass
        finally:
            self._line.close()

    def hear(self, deadline_s: float, counted: Counter[str]) -> Heard:
        if not self._started:
            self._tell(self._profile.open)
            self._started = True
            self._fresh = self._profile.discard_first if self._profile.open else 0
        if self._asleep:
            self._wake()
            raise Waking("woken for its sample", again_s=max(self._profile.warmup_s, 0.05))
        try:
            heard = self._inner.hear(deadline_s, counted)
        except (Unanswered, DeviceError, NoData):
            self._try_to_wake()
            raise
        self._wake_again_s = 0.0
        if (left_s := self._warm_at_s - time.monotonic()) > 0:
            raise WarmingUp(f"{left_s:.0f} s more", what="sensor", again_s=left_s)
        if self._fresh > 0:
            self._fresh -= 1
            raise WarmingUp("the first after a start", what="sensor", again_s=max(self._profile.min_every_s, 0.05))
        if self._rests and self._profile.sleep:
            self._rest()
        return heard

    def _tell(self, commands: Commands) -> None:
        """The listening thread of a talkative sensor would take the answer: it rests meanwhile."""
        if not commands:
            return
        self._inner.close()
        try:
            for command in commands:
                obey(self._line, command)
        finally:
            self._inner.open()

    def _wake(self) -> None:
        self._tell(self._profile.wake)
        self._asleep = False
        self._warm_at_s = time.monotonic() + self._profile.warmup_s
        self._fresh = self._profile.discard_first

    def _try_to_wake(self) -> None:
        """Raises WarmingUp when the device says that it obeys; else what was met stays what is told."""
        if not self._profile.wake or time.monotonic() < self._wake_again_s:
            return
        self._wake_again_s = time.monotonic() + WAKE_AGAIN_S
        try:
            self._wake()
        except (Unanswered, DeviceError):
            return
        if any(command.answer for command in self._profile.wake):
            why = "it was asleep and is woken"
            raise WarmingUp(why, what="sensor", again_s=max(self._profile.warmup_s, 0.05)) from None

    def _rest(self) -> None:
        """A device that does not obey stays awake until its next sample."""
        try:
            self._tell(self._profile.sleep)
        except (Unanswered, DeviceError):
            return
        self._asleep = True


def needed(profile: Profile) -> bool:
    """Whether a profile has any command but its questions."""
    return bool(profile.open or profile.wake or profile.close)
