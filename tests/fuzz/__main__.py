"""``python -m tests.fuzz [--count 2000] [--seed 1]``: mutated files, each given to some operations, as jobs do them.

Told is what came of them, by code, and what mustn't be: a failure of our own, an operation past its limit, a file
outside scratch, a process that is left.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))  # what is shared by tests imports its like by bare names

from unit.pipelines.jobs.operating import place

from cluster.child import MediaChild
from cluster.roots import Roots
from cluster.settings import Settings
from pipelines.jobs.catalogue import Catalogue, operation_modules
from pipelines.jobs.inline import each_of
from pipelines.jobs.worker import heavy_child
from tests.fuzz.mutations import mutated

MEDIA = Path(__file__).parents[3] / "shared" / "media"
LIMIT_S = 60.0
OVER_S = 2.0  # so much later it is ended at the latest
LARGEST_BYTES = 4 << 20
IMAGES = frozenset(
    {".png", ".jpg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".avifs", ".ico", ".jp2", ".apng"}
)
OF_IMAGES = {
    "image-metadata": {},
    "image-analyze": {},
    "image-thumbnails": {"sizes": ["64"]},
    "image-convert": {"format": "webp"},
    "image-enhance": {"auto": True},
}
OF_FILMS = {
    "probe": {"deep": True},
    "validate": {},
    "thumbnails": {"count": 2},
    "scenes": {},
    "fingerprint": {},
    "waveform": {},
    "transcode": {"profile": "mobile-480p", "preset": "ultrafast"},
}
OURS = frozenset({"internal"})  # codes that are no answer


class Hurried(MediaChild):
    """Gives each call a limit, and notes how long it took."""

    slowest_s = 0.0

    def _exchange(self, message, descriptors, limit_s, on_progress):  # type: ignore[no-untyped-def]
        began = time.monotonic()
        try:
            return super()._exchange(message, descriptors, min(limit_s, LIMIT_S), on_progress)
        finally:
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)


@dataclass
class Found:
    codes: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="A folder for files of which something wrong is told.")
    given = parser.parse_args()
    console = Console()
    if not MEDIA.is_dir():
        console.print(f"There are no files to mutate: {MEDIA} is missing.")
        return 2
    with tempfile.TemporaryDirectory(prefix="mr-fuzz-") as folder:
        found, slowest_s = fuzzed(Path(folder), given.count, given.seed, given.keep)
    table = Table("operation", "came to", "times", title=f"{given.count} mutated files, seed {given.seed}")
    for (name, code), times in sorted(found.codes.items()):
        table.add_row(name, code, str(times))
    console.print(table)
    console.print(f"slowest call: {slowest_s:.1f} s, of at most {LIMIT_S:.0f} + {OVER_S:.0f} s")
    console.print(*found.wrong or ["nothing wrong"], sep="\n")
    return 1 if found.wrong else 0


def fuzzed(folder: Path, count: int, seed: int, keep: Path | None = None) -> tuple[Found, float]:
    """What came of so many files; and the slowest call, in seconds."""
    catalogue = Catalogue.load(operation_modules("pipelines.jobs.operations"))
    settings = Settings(home=folder / "home", roots=[str(folder / "media")], _env_file=None)
    media, outside = folder / "media", folder / "outside"
    for each in (media, outside):
        each.mkdir(parents=True)
    (outside / "sentinel").write_bytes(b"untouched")
    originals = [path for path in sorted(MEDIA.rglob("*.*")) if 0 < path.stat().st_size <= LARGEST_BYTES]
    contents = {path: path.read_bytes() for path in originals if path.suffix.lower() not in (".md", ".tsv")}
    found, child = Found(), Hurried(heavy_child(settings))
    try:
        for number in track(range(count), "mutated files", disable=not sys.stderr.isatty()):
            rng = random.Random(f"{seed}-{number}")
            original = rng.choice(list(contents))
            source = media / f"{number:05d}{original.suffix}"
            source.write_bytes(mutated(contents[original], rng, list(contents.values())))
            wrong = list(_wrong_of(catalogue, settings, child, source, rng, found.codes))
            if wrong and keep:
                keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, keep / f"{source.stem}-{original.stem}{source.suffix}")
            found.wrong += [f"{number} ({original.name}): {each}" for each in wrong]
            source.unlink()
        if child.slowest_s > LIMIT_S + OVER_S:
            found.wrong.append(f"a call took {child.slowest_s:.1f} s")
    finally:
        child.close()
    if [each.read_bytes() for each in outside.iterdir()] != [b"untouched"] or list(media.iterdir()):
        found.wrong.append("files outside scratch were touched")
    if left := psutil.Process().children(recursive=True):
        found.wrong.append(f"processes are left: {left}")
    return found, child.slowest_s


def _wrong_of(
    catalogue: Catalogue,
    settings: Settings,
    child: MediaChild,
    source: Path,
    rng: random.Random,
    codes: Counter[tuple[str, str]],
) -> Iterator[str]:
    of = OF_IMAGES if source.suffix.lower() in IMAGES else OF_FILMS
    for name in rng.sample(sorted(of), k=3):
        operation = catalogue[name]
        scratch = settings.home / "scratch" / source.stem / name
        bench = place(
            settings.home,
            Roots((source.parent,), (), None),
            params=operation.params(**of[name]),
            sources=(str(source),),
            scratch=scratch,
            child=child,
            slots=2,
        )
        before = _content(source)
        (each,) = each_of(operation, bench, bench.params, [str(source)])
        code = "a result" if each.error is None else each.error.code
        codes[(name, code)] += 1
        if code in OURS:
            yield f"{name} came to {code}: {each.error.message if each.error else ''}"
        if _content(source) != before:
            yield f"{name} changed its source"
        shutil.rmtree(scratch.parent, ignore_errors=True)


def _content(source: Path) -> tuple[bytes, int]:
    return source.read_bytes(), source.stat().st_mtime_ns


if __name__ == "__main__":
    sys.exit(main())
