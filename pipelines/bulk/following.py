"""What changes below folders, as the kernel tells it, or found by looking at them in turns; blocking, for a thread.

Each folder is watched by itself, not its tree: watchfiles would follow links to folders, and holds Python's lock while
it walks.
"""

import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import watchfiles
from watchfiles import Change

from pipelines.bulk.scanning import is_text, kind_of

_MOST_LOOKED_AT = 256  # files that changed last: whether they grow without being told of
_MANY = 1000  # changes at once: more than that, and the kernel's queue may have been full
# What others change in them nobody is told.
_SILENT = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "vboxsf", "afs", "ceph", "lustre"})
_LIMIT = (
    "The kernel watches no more folders for this user (fs.inotify.max_user_watches, max_user_instances): its files are "
    "looked at in turns instead."
)
_Changes = set[tuple[Change, str]]
_Watch = Callable[..., Iterator[_Changes]]
_Facts = dict[str, tuple[int, int]]  # of a folder that is there: device and inode


@dataclass(frozen=True)
class Pace:
    """``quiet_s`` without a change, or ``most_s`` with changes, is waited before an import.

    Changes are gathered by ``step_ms``, and something is said at least every ``tick_ms``; where nobody tells of
    changes, files are looked at every ``poll_ms``. What failed is begun anew after ``again_s``.
    """

    quiet_s: float = 5.0
    most_s: float = 600.0
    step_ms: int = 1000
    tick_ms: int = 2000
    poll_ms: int = 30_000
    again_s: float = 30.0


@dataclass(frozen=True)
class News:
    """``changed`` are those of the folders below which files did; ``away`` those that aren't there, and why.

    ``polled`` tells why files are looked at in turns, where they are; ``mounts`` as in ``Watching``.
    """

    changed: frozenset[str]
    away: Mapping[str, str]
    polled: str | None
    mounts: Mapping[str, tuple[str, ...]]


@dataclass
class Follower:
    """Follows ``folders``, each with the kinds of files that count. ``mounts`` were seen there before."""

    folders: Mapping[str, Collection[str]]
    mounts: Mapping[str, tuple[str, ...]]
    pace: Pace
    watch: _Watch = watchfiles.watch
    _seen: _Facts = field(default_factory=dict)
    _recent: dict[str, tuple[float, Any]] = field(default_factory=dict)

    def news(self, stop: threading.Event) -> Iterator[News]:
        """What changes, until ``stop``. All folders count as changed whenever they begin to be watched.

        Raises:
            OSError, RuntimeError: it can't be followed any more.
        """
        while not stop.is_set():
            away = absent(self.folders, self.mounts)
            here = [each for each in self.folders if each not in away]
            self.mounts = {**self.mounts, **{each: _mounts(each) for each in here}}
            self._seen = self._facts()
            if here:
                below = {sub: at for each in here for sub, at in folders_below(each).items()}
                yield from self._changes(here, away, below, stop)
            else:
                yield News(frozenset(), away, None, self.mounts)
                while not stop.wait(self.pace.tick_ms / 1000) and self._facts() == self._seen:
                    pass

    def _changes(
        self, here: Sequence[str], away: Mapping[str, str], below: Mapping[str, int], stop: threading.Event
    ) -> Iterator[News]:
        """News until other folders are to be watched."""
        polled = next((why for each in here if (why := _silent(each))), None)
        batches = self._batches(below, stop, polled=polled is not None)
        try:
            batch = next(batches, None)
        except (FileNotFoundError, PermissionError):  # gone, or closed, since it was listed
            stop.wait(self.pace.tick_ms / 1000)
            return
        except (OSError, RuntimeError):
            if polled is not None:
                raise
            polled = _LIMIT
            batches = self._batches(below, stop, polled=True)
            batch = next(batches, None)
        # Between the end of one watch and the begin of the next nobody tells what changes, nor in which folder.
        yield News(frozenset(here), away, polled, self.mounts)
        others = _grew(below)  # made before they were watched, so that nobody told of them
        while batch is not None:
            if changed := self._counted(batch, below) | self._growing():
                yield News(changed, away, polled, self.mounts)
            others = others or (len(batch) > _MANY and _grew(below))  # the kernel may have left some out
            if others or any(_is_of_folders(each, below) for each in batch) or self._facts() != self._seen:
                return
            batch = next(batches, None)

    def _batches(self, below: Mapping[str, int], stop: threading.Event, *, polled: bool) -> Iterator[_Changes]:
        return self.watch(
            *below,
            watch_filter=None,
            debounce=2 * self.pace.step_ms,
            step=self.pace.step_ms,
            stop_event=stop,
            rust_timeout=self.pace.tick_ms,
            yield_on_timeout=True,
            raise_interrupt=False,
            force_polling=polled,
            poll_delay_ms=self.pace.poll_ms,
            recursive=False,
            # With True it keeps silent of the limit, too.
            ignore_permission_denied=False,
        )

    def _facts(self) -> _Facts:
        """Of all folders, and of where something is mounted: they change when it goes or comes."""
        found = {}
        for path in {*self.folders, *(each for points in self.mounts.values() for each in points)}:
            facts = _stat(path)
            if facts is not None and stat.S_ISDIR(facts.st_mode):
                found[path] = (facts.st_dev, facts.st_ino)
        return found

    def _counted(self, batch: _Changes, below: Mapping[str, int]) -> frozenset[str]:
        """The folders below which something changed that an import would see."""
        changed: set[str] = set()
        for change, path in batch:
            of_folders = _is_of_folders((change, path), below)
            if _is_hidden(path) or (path in below and not of_folders):
                continue
            kind = kind_of(path)
            found = [
                each for each, kinds in self.folders.items() if _is_below(path, each) and (of_folders or kind in kinds)
            ]
            if found and not of_folders and change != Change.deleted:
                self._recent.pop(path, None)
                self._recent[path] = (time.monotonic(), _file_facts(path))
            changed.update(found)
        while len(self._recent) > _MOST_LOOKED_AT:
            del self._recent[next(iter(self._recent))]
        return frozenset(changed)

    def _growing(self) -> frozenset[str]:
        """The folders of files that changed lately and go on changing, whether or not that was told."""
        changed: set[str] = set()
        for path, (at, facts) in list(self._recent.items()):
            if (now := _file_facts(path)) != facts:
                self._recent[path] = (time.monotonic(), now)
                changed.update(each for each in self.folders if _is_below(path, each))
            elif time.monotonic() - at > self.pace.quiet_s:
                del self._recent[path]
        return frozenset(changed)


def absent(folders: Collection[str], mounts: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Those of ``folders`` that aren't there, and why: with what was mounted there gone, files only seem to be."""
    mounted = {each.mountpoint for each in psutil.disk_partitions(all=True)}
    found = {}
    for folder in folders:
        lost = [each for each in mounts.get(folder, ()) if each not in mounted]
        if lost:
            found[folder] = f"{lost[0]} isn't mounted: nothing is imported from {folder} until it is."
        elif not Path(folder).is_dir():
            found[folder] = f"{folder} isn't there: nothing is imported from it until it is."
    return found


def folders_below(root: str) -> dict[str, int]:
    """``root`` and the folders below it that an import looks into; mtimes in ns, of before they were read."""
    found: dict[str, int] = {}
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            changed_at = Path(folder).stat().st_mtime_ns
            waiting += _folders_in(folder)
        except OSError:  # an import tells
            continue
        found[folder] = changed_at
    return found


def _folders_in(folder: str) -> list[str]:
    with os.scandir(folder) as entries:
        return [
            each.path
            for each in entries
            if not each.name.startswith(".") and is_text(each.path) and each.is_dir(follow_symlinks=False)
        ]


def _grew(below: Mapping[str, int]) -> bool:
    """Whether there are folders in some of ``below`` that weren't when they were listed."""
    for folder, listed_at in below.items():
        try:
            if Path(folder).stat().st_mtime_ns != listed_at and not below.keys() >= {*_folders_in(folder)}:
                return True
        except OSError:
            return True
    return False


def _is_of_folders(changed: tuple[Change, str], below: Mapping[str, int]) -> bool:
    """Whether a folder came or went that an import looks into."""
    change, path = changed
    if change == Change.added:
        return not _is_hidden(path) and Path(path).is_dir() and not Path(path).is_symlink()
    return change == Change.deleted and path in below


def _is_hidden(path: str) -> bool:
    return path.rpartition("/")[2].startswith(".")


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def _file_facts(path: str) -> tuple[int, int] | None:
    facts = _stat(path)
    return None if facts is None else (facts.st_size, facts.st_mtime_ns)


def _stat(path: str) -> os.stat_result | None:
    try:
        return Path(path).stat()
    except OSError:
        return None


def _mounts(folder: str) -> tuple[str, ...]:
    """Where file systems are mounted that the files of ``folder`` are on; not in hidden folders."""
    points = [each.mountpoint for each in psutil.disk_partitions(all=True)]
    holding = max((each for each in points if _is_below(folder, each)), key=len, default="/")
    below = {each for each in points if each != folder and _is_below(each, folder)}
    return (holding, *sorted(each for each in below if "/." not in each[len(folder) :]))


def _silent(folder: str) -> str | None:
    """Why the kernel doesn't tell of changes below a folder, if it doesn't."""
    kinds = {each.mountpoint: each.fstype for each in psutil.disk_partitions(all=True)}
    for mount in _mounts(folder):
        kind = kinds.get(mount, "")
        if kind in _SILENT or kind.startswith("fuse."):
            return f"{mount} is {kind}, where changes by others aren't told: its files are looked at in turns instead."
    return None
