"""Folders of `<maker>/<model>.yaml` in; profiles by id out. A profile is read when it is first asked for."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from adapters.document import Mistake, Mistakes
from adapters.profile import Profile, load
from readings.errors import Stop


def shipped_dir() -> Path:
    """The profiles that come with this version: in a wheel adapters/profiles, in a checkout firmware-profiles."""
    here = Path(__file__).resolve().parent
    packed = here / "profiles"
    return packed if packed.is_dir() else here.parent / "firmware-profiles"


class Catalogue:
    """Profiles by id: the shipped ones and those of further folders. Profiles are loaded once."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = dict(paths)
        self._loaded: dict[str, Profile] = {}
        self._variants: dict[str, list[str]] | None = None

    @classmethod
    def load(cls, dirs: Sequence[Path] = ()) -> "Catalogue":
        """The shipped folder always comes first. Raises Stop for a folder that is missing or holds what nobody would read.

        A profile may be there twice only when both files are the same, byte for byte.
        """
        paths: dict[str, Path] = {}
        mistakes: list[Mistake] = []
        for folder in dict.fromkeys(path.resolve() for path in (shipped_dir(), *dirs)):
            if not folder.is_dir():
                raise Stop("no such folder", what=str(folder), hint="`profiles` lists folders of <maker>/<model>.yaml")
            for path in sorted(folder.rglob("*.y*ml")):
                profile_id = f"{path.parent.name}.{path.stem}"
                if path.parent.parent != folder or path.suffix != ".yaml":
                    mistakes.append(
                        Mistake(str(path), 1, "", "nobody would find it here", "profiles stand at <maker>/<model>.yaml")
                    )
                elif profile_id in paths and paths[profile_id].read_bytes() != path.read_bytes():
                    why = f"{profile_id} is {paths[profile_id]} already"
                    mistakes.append(Mistake(str(path), 1, "profile", why, "give it another model name"))
                else:
                    paths.setdefault(profile_id, path)
        if mistakes:
            raise Mistakes(mistakes)
        return cls(paths)

    def ids(self) -> list[str]:
        return sorted(self._paths)

    def path(self, profile_id: str) -> Path:
        """Raises Stop."""
        try:
            return self._paths[profile_id]
        except KeyError:
            near = get_close_matches(profile_id, self._paths, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(self.ids())}"
            raise Stop("is not in this version", what=f"profile {profile_id}", hint=hint) from None

    def get(self, profile_id: str) -> Profile:
        """Raises Stop: an unknown id, or Mistakes in its file."""
        if profile_id not in self._loaded:
            self._loaded[profile_id] = load(self.path(profile_id), self.path)
        return self._loaded[profile_id]

    def chosen(self, profile_id: str, options: Mapping[str, object]) -> Profile:
        """The variant of a profile that these options (`firmware`, a board's setting, ...) ask for; else the profile itself.

        Of several that fit it is the one that asks for most. Raises Stop.
        """
        if self._variants is None:
            self._variants = self._find_variants()
        fitting = [self.get(name) for name in self._variants.get(profile_id, ())]
        fitting = [profile for profile in fitting if _fits(profile, options)]
        return max(fitting, key=lambda profile: len(profile.when)) if fitting else self.get(profile_id)

    def _find_variants(self) -> dict[str, list[str]]:
        """Ids of the profiles with `when`, by what they extend. A broken profile is nobody's variant."""
        found: dict[str, list[str]] = {}
        for profile_id in self.ids():
            if b"when:" not in self.path(profile_id).read_bytes():
                continue
            try:
                profile = self.get(profile_id)
            except Mistakes:
                continue
            if profile.when:
                found.setdefault(profile.extends, []).append(profile_id)
        return found

    def check(self, ids: Iterable[str] | None = None) -> list[str]:
        """Every mistake in these profiles (default: in all), one sentence each."""
        found: list[str] = []
        for profile_id in self.ids() if ids is None else ids:
            try:
                self.get(profile_id)
            except Mistakes as mistakes:
                found += mistakes.lines
        return found


def _fits(profile: Profile, options: Mapping[str, object]) -> bool:
    """Whether each key of `when` has one of its values; a word that ends in * stands for all that begin so."""
    return all(key in options and any(_equal(options[key], value) for value in values) for key, values in profile.when.items())


def _equal(given: object, wanted: object) -> bool:
    if isinstance(wanted, str) and wanted.endswith("*"):
        return str(given).startswith(wanted[:-1])
    return given == wanted or str(given) == str(wanted)
