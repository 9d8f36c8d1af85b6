"""``mediaray demo``: the whole tour on a sample clip, or on a file of yours."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal

from serve.cli.display import display_for
from serve.cli.failures import FAILED, reported
from serve.cli.launch import ensure_server, stop_server
from serve.cli.operations import Json
from serve.cli.render import Screen, duration, print_json, took_s
from serve.cli.session import Place
from serve.cli.targets import Target, granted, targets
from serve.cli.watch import watch

if TYPE_CHECKING:
    from serve.client import JobView

_SAMPLE_S = 20
_PROFILE = "mobile-480p"  # below the sample's 720 lines, so that there is something to encode
_STILLS = 6


@dataclass(frozen=True)
class Tour:
    """The jobs of the demo, finished."""

    source: Path
    probe: "JobView"
    transcode: "JobView"
    stills: "JobView"

    @property
    def jobs(self) -> tuple["JobView", ...]:
        return (self.probe, self.transcode, self.stills)

    @property
    def speed(self) -> float | None:
        """Seconds of video per second of work."""
        length_s, work_s = (self.probe.result or {}).get("duration_s"), took_s(self.transcode)
        return length_s / work_s if length_s and work_s else None


@reported
def demo(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A video of yours. Default: a sample.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the results go.")] = Path("demo-output"),
    keep: Annotated[bool, typer.Option("--keep", help="Leave a server started for this running.")] = False,
    json_output: Json = False,
) -> None:
    """Take the tour: read a video's metadata, transcode it for the web, take stills."""
    place = Place.here()
    screen = Screen(stderr=json_output)
    folder = out.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    source = file.absolute() if file else _sample(folder, screen)
    chosen = targets([str(source)], f"{folder}/", "file")
    started = ensure_server(place, screen, stays=keep)
    try:
        tour = _take(place, chosen[0], folder, as_json=json_output)
    finally:
        if started and not keep:
            with screen.waiting("Stopping the server…"):
                stop_server(place.home)
    failed = any(job.state != "succeeded" for job in tour.jobs)
    if json_output:
        print_json({"source": _file(source), "speed": tour.speed, "jobs": tour.jobs})
    elif not failed:
        _summary(screen, tour, folder)
    if failed:
        raise typer.Exit(FAILED)


def _sample(folder: Path, screen: Screen) -> Path:
    sample = folder / "sample.mp4"
    if not sample.exists():
        from pipelines.media.sample import make_sample  # slow to import

        with screen.waiting(f"Making a sample clip of {_SAMPLE_S} s…"):
            make_sample(sample, duration_s=_SAMPLE_S)
    return sample


def _take(place: Place, target: Target, folder: Path, *, as_json: bool) -> Tour:
    source = Path(target.sources[0])
    output = folder / f"{source.stem}-web.mp4"
    with place.client() as client, granted(place, [target]):
        probe = client.submit("probe", target.sources)
        transcode = client.submit(
            "transcode", target.sources, {"profile": _PROFILE, "output": str(output), "overwrite": True}
        )
        stills = client.submit(
            "thumbnails",
            target.sources,
            {"count": _STILLS, "output": str(folder / "stills"), "overwrite": True},
        )
    jobs = [probe, transcode, stills]
    probe, transcode, stills = watch(place, jobs, display_for(jobs, as_json=as_json))
    return Tour(source, probe, transcode, stills)


def _summary(screen: Screen, tour: Tour, folder: Path) -> None:
    length_s = (tour.probe.result or {}).get("duration_s")
    before = tour.source.stat().st_size
    after = sum(each.size_bytes for each in tour.transcode.artifacts)
    screen.say("")
    screen.table(
        ("", "SIZE", "WHERE"),
        [
            ("source", decimal(before), str(tour.source)),
            (
                f"for the web ({_PROFILE})",
                f"{decimal(after)} ({after / before:.0%})",
                _places(tour.transcode),
            ),
            (f"{len(tour.stills.artifacts)} stills", _size(tour.stills), str(folder / "stills")),
        ],
    )
    if length_s and tour.speed:
        screen.say(f"\n{duration(length_s)} of video, {tour.speed:.1f} times as fast as it plays.")
    screen.say("\nNext:", style="bold")
    screen.table(("  COMMAND", "DOES"), _next_steps(tour.source))


def _next_steps(source: Path) -> Sequence[tuple[str, str]]:
    program = "mediaray" if shutil.which("mediaray") else shlex.quote(os.path.relpath(sys.argv[0]))
    clip = shlex.quote(os.path.relpath(source))
    return (
        (f"  {program} doctor", "what this machine can do"),
        (f"  {program} up", "start the server to stay"),
        (f"  {program} transcode {clip} -o out.mp4 --explain", "a plan, before the work"),
        (f"  {program} jobs list", f"all jobs; more: {program} --help"),
    )


def _places(job: "JobView") -> str:
    return ", ".join(each.path or each.name for each in job.artifacts)


def _size(job: "JobView") -> str:
    return decimal(sum(each.size_bytes for each in job.artifacts))


def _file(path: Path) -> dict[str, Any]:
    return {"path": str(path), "size_bytes": path.stat().st_size}
