"""``mediaray backup`` and ``restore``."""

import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from serve.cli.failures import reported
from serve.cli.operations import Json
from serve.cli.render import Screen, print_json
from serve.cli.session import Place

if TYPE_CHECKING:
    from serve.backup import Backup

_SHOWN_AFTER_S = 1.0
File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]


@reported
def backup(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Where it goes; in a folder (DIR/) it is named by the time.")
    ],
    check: Annotated[
        bool, typer.Option("--verify", help="Make none: read all of this one, and say what it holds.")
    ] = False,
    units: Annotated[
        bool, typer.Option("--units", help="With finished pieces of unfinished jobs: encoded media, maybe large.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a backup of that name.")] = False,
    json_output: Json = False,
) -> None:
    """Write jobs, their events and collections to a file, while the server runs or not. No media, no secrets."""
    from serve.backup import back_up, name_for, verify  # slow to import

    with _Stages(as_json=json_output) as tell:
        if check:
            told = verify(Path(file), tell)
        else:
            place, target = Place.there(), Path(file).absolute()
            if file.endswith("/"):
                target.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                target /= name_for(datetime.now(UTC))
            told = back_up(place.settings, place.home, target, tell, overwrite=overwrite, units=units)
    if json_output:
        print_json({"verified": True, **asdict(told)})
        return
    screen = Screen()
    screen.say(f"{told.path}: {_holds(told)} ({decimal(told.size_bytes)}). All of it was read, and is whole.")
    if not check:
        screen.note("Not in it: media and artifacts, the cache, the token and all passwords.")


@reported
def restore(
    file: File,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also where there are jobs or collections; these are kept in a folder.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Bring a backup back into MEDIARAY_HOME, on which no server runs. Unfinished jobs are queued."""
    from serve.backup import restore as bring_back  # slow to import

    place = Place.here()
    with _Stages(as_json=json_output) as tell:
        told = bring_back(place.settings, place.home, file.absolute(), tell, replace=replace)
    if json_output:
        print_json({"home": str(place.home.path), "replaced": told.replaced, **asdict(told.backup)})
        return
    screen = Screen()
    screen.say(f"{place.home.path}: {_holds(told.backup)}, of {told.backup.made_at}.")
    if told.replaced:
        screen.say(f"What was there before is in {told.replaced}.")
    screen.note("Start the server with: mediaray up. Clients need its token, which isn't that of the backup's home.")


def _holds(told: "Backup") -> str:
    pieces = f", {_several(told.pieces, 'finished piece')}" if told.pieces else ""
    unfinished = f" ({told.active} unfinished)" if told.active else ""
    jobs = _several(sum(told.jobs.values()), "job")
    return f"{jobs}{unfinished}, {_several(told.events, 'event')}, {_several(told.collections, 'collection')}{pieces}"


def _several(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


class _Stages:
    """A bar for each stage, on a terminal, of what takes longer than a second. On stderr with ``--json``."""

    def __init__(self, *, as_json: bool) -> None:
        self._screen = Screen(stderr=as_json)
        self._began = time.monotonic()
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[done]}", markup=False, style="dim"),
            console=self._screen.console,
            transient=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if not self._screen.live or time.monotonic() - self._began < _SHOWN_AFTER_S:
            return
        if stage not in self._bars:
            self._progress.start()
            self._bars[stage] = self._progress.add_task(stage, total=total or None, done="")
        shown = f"{done / total:.0%}" if total else f"{done:,}"
        self._progress.update(self._bars[stage], completed=done, total=total or None, done=shown)
