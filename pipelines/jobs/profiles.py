"""The profiles there are: those shipped, and the user's own in the home folder, which win."""

from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path

from pipelines.media.profiles import Profile, load_profiles


def all_profiles(own_folder: Path) -> dict[str, Profile]:
    """Profiles by name, read again when a file changes. Raises ProfileError naming file and field."""
    own = tuple((path, path.stat().st_mtime_ns) for path in sorted(own_folder.glob("*.toml")))
    return _read(own_folder, own)


@lru_cache(maxsize=2)
def _read(own_folder: Path, own: tuple[tuple[Path, int], ...]) -> dict[str, Profile]:
    with as_file(files("configs").joinpath("profiles")) as shipped:
        found = load_profiles(shipped)
    return {**found, **load_profiles(own_folder)} if own else found
