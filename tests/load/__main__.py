"""``make load``: many people at once on a server that encodes; past its limit; and against work in the request.

python -m tests.load [users | watchers | stress | baseline | soak]… [--scale S] [--users N] [--trial] [--folder DIR]

``soak`` is done only where it is named: ten thousand jobs one after another take half an hour.

Starts a server of its own on loopback, and writes ``report.md`` with plots. Ends with 1 where a bar is missed, with 2
where a request or a job failed, or an event was lost.
"""

import argparse
import resource
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.live_server import LiveServer, live_server
from tests.load import comparison, report
from tests.load.crowd import Given, crowd
from tests.load.helpers import cancel_all
from tests.load.material import material
from tests.load.report import Section
from tests.load.soak import Lot, soak
from tests.load.stress import stress

FOLDER = Path(__file__).resolve().parents[2] / "build" / "load"
DEFAULT = ("users", "watchers", "stress", "baseline")
PROFILES = (*DEFAULT, "soak")


@dataclass(frozen=True)
class Size:
    """How much of it all. ``scripts`` ask without a pause; ``batch`` films are offered at once."""

    users: int = 1000
    seconds: float = 300.0
    transcodes: int = 20
    images: int = 50
    scripts: int = 800
    stress_s: float = 60.0
    batch: int = 10
    steps_scale: float = 1.0
    film_s: int = 60
    clips: int = 40
    photos: int = 60
    pause: float = 1.0  # of the time that people think
    soak: Lot = field(default_factory=lambda: Lot(warm_up=500, probes=10_000, transcodes=500))

    def scaled(self, by: float) -> "Size":
        return replace(
            self,
            seconds=self.seconds * by,
            stress_s=self.stress_s * by,
            steps_scale=by,
            soak=self.soak.scaled(by),
        )


_TRIAL = Size(
    users=5,
    seconds=3,
    transcodes=1,
    images=1,
    scripts=5,
    stress_s=3,
    batch=1,
    steps_scale=0.1,
    film_s=4,
    clips=4,
    photos=6,
    pause=0.02,
    soak=Lot(warm_up=10, probes=28, transcodes=2, settle_s=0.0),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make load", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "profiles", nargs="*", metavar="PROFILE", help=f"which of {', '.join(PROFILES)}; default all but soak"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="all durations, and jobs of soak, times this")
    parser.add_argument("--users", type=int, default=Size.users, help="people, and sockets of the watchers")
    parser.add_argument("--trial", action="store_true", help="five people for three seconds; no bar counts")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"of the report; default {FOLDER}")
    given = parser.parse_args()
    if wrong := set(given.profiles) - set(PROFILES):
        parser.error(f"there is no profile {', '.join(sorted(wrong))}")
    # Each of a thousand clients is a socket here, and two in the server.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    size = _TRIAL if given.trial else replace(Size(), users=given.users).scaled(given.scale)
    given.folder.mkdir(parents=True, exist_ok=True)
    sections = run(set(given.profiles) or set(DEFAULT), size, given.folder)
    print(f"\nThe report is {given.folder / 'report.md'}")
    if any(section.failures for section in sections):
        return 2
    return 0 if given.trial or all(line.met for section in sections for line in section.lines) else 1


def run(chosen: set[str], size: Size, folder: Path) -> list[Section]:
    """Run the profiles on one server; the report is written anew after each."""
    made = material(FOLDER / "media", size.film_s, size.clips, size.photos)
    watchers = size.users if "watchers" in chosen else 0  # they watch while the people are there
    calm = Given(size.users, watchers, size.seconds, size.transcodes, size.images, size.pause)
    steps = comparison.Given(size.users, size.steps_scale, size.pause, size.batch)
    profiles: dict[str, Callable[[LiveServer], list[Section]]] = {
        "users": lambda server: crowd(server, made, calm),
        "stress": lambda server: [stress(server, made, size.scripts, min(size.users, 100), size.stress_s, size.pause)],
        "baseline": lambda server: [comparison.baseline(server, made, steps)],
        "soak": lambda server: [soak(server, made, size.soak)],
    }
    if watchers:
        chosen = chosen - {"watchers"} | {"users"}
    sections: list[Section] = []
    command = f"make load ARGS={shlex.quote(' '.join(sys.argv[1:]))}"
    with live_server(MEDIARAY_ROOTS=f'["{made.folder}"]') as server:
        try:
            for name in (name for name in profiles if name in chosen):
                found = profiles[name](server)
                print("\n\n".join(section.markdown() for section in found), flush=True)
                sections += found
                report.write(folder, sections, command)
                cancel_all(server)
        finally:
            (folder / "server.log").write_text(server.log())
    return sections


if __name__ == "__main__":
    sys.exit(main())
