"""What is told of changes below folders, by the kernel or by looking: real files, real inotify."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import watchfiles

from pipelines.bulk.following import Follower, News, Pace, absent, folders_below

QUICK = Pace(quiet_s=0.2, most_s=5.0, step_ms=20, tick_ms=40, poll_ms=50, again_s=0.05)
PICTURES = frozenset({"image"})


class Following:
    """A follower in this thread: what happens is done between two items of its news."""

    def __init__(self, *folders: Path, kinds=PICTURES, **more):
        self.stop = threading.Event()
        self.follower = Follower({str(each): kinds for each in folders}, more.pop("mounts", {}), QUICK, **more)
        self.news: Iterator[News] = self.follower.news(self.stop)

    def until(self, true) -> News:
        """The first item that it's true of. It ends with the test's own time limit, if there is none."""
        return next(each for each in self.news if true(each))

    def until_changed(self, folder: Path) -> News:
        return self.until(lambda news: str(folder) in news.changed)


@pytest.fixture
def library(tmp_path) -> Path:
    folder = tmp_path / "library"
    (folder / "trip").mkdir(parents=True)
    (folder / "trip" / "known.jpg").write_bytes(b"known")
    return folder


@pytest.fixture
def follow():
    began: list[Following] = []

    def begin(*folders: Path, **more) -> Following:
        began.append(Following(*folders, **more))
        return began[-1]

    yield begin
    for each in began:
        each.stop.set()
        each.news.close()


def test_what_nobody_watched_so_far_counts_as_changed(follow, library):
    first = next(follow(library).news)
    assert (first.changed, dict(first.away), first.polled) == ({str(library)}, {}, None)


@pytest.mark.parametrize(
    "change",
    [
        lambda library: (library / "trip" / "new.jpg").write_bytes(b"new"),
        lambda library: (library / "trip" / "known.jpg").write_bytes(b"changed"),
        lambda library: (library / "trip" / "known.jpg").rename(library / "moved.jpg"),
        lambda library: (library / "trip" / "known.jpg").unlink(),
        lambda library: shutil.rmtree(library / "trip"),
        lambda library: (library / "trip").rename(library / "journey"),
    ],
    ids=["made", "changed", "moved", "removed", "folder removed", "folder moved"],
)
@pytest.mark.parametrize("polled", [False, True])
def test_what_happens_to_files_is_told(follow, library, change, polled):
    how = {"watch": lambda *of, **more: watchfiles.watch(*of, **{**more, "force_polling": True})} if polled else {}
    # Times of files are looked at by the second: let what comes differ from what was.
    for path in (library / "trip" / "known.jpg", library / "trip", library):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    following = follow(library, **how)
    next(following.news)
    change(library)
    following.until_changed(library)


def test_each_folder_is_told_for_itself(follow, library, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    following = follow(library, other)
    next(following.news)
    (other / "new.jpg").write_bytes(b"new")
    assert following.until(lambda news: news.changed).changed == {str(other)}


@pytest.mark.parametrize("name", [".hidden.jpg", "notes.txt", ".thumbnails/small.jpg"])
def test_what_no_import_sees_is_not_told(follow, library, name):
    following = follow(library)
    next(following.news)
    (library / name).parent.mkdir(exist_ok=True)
    (library / name).write_bytes(b"unseen")
    (library / "seen.jpg").write_bytes(b"seen")
    following.until_changed(library)
    assert [*following.follower._recent] == [str(library / "seen.jpg")]


def test_files_of_a_new_folder_are_told_and_what_comes_into_it_later(follow, library):
    watched: list[str] = []

    def watch(*folders, **more):
        watched[:] = folders
        return watchfiles.watch(*folders, **more)

    following = follow(library, watch=watch)
    next(following.news)
    (library / "2026" / "may").mkdir(parents=True)
    told = following.until(lambda _: str(library / "2026" / "may") in watched)
    assert told.changed == {str(library)}
    (library / "2026" / "may" / "late.jpg").write_bytes(b"late")
    following.until(lambda _: str(library / "2026" / "may" / "late.jpg") in following.follower._recent)


def test_a_folder_made_between_listing_and_watching_is_watched(follow, library):
    def late(*folders, **more):
        (library / "between").mkdir(exist_ok=True)
        yield from watchfiles.watch(*folders, **more)

    following = follow(library, watch=late)
    next(following.news)
    next(following.news)
    (library / "between" / "new.jpg").write_bytes(b"new")
    following.until(lambda _: str(library / "between" / "new.jpg") in following.follower._recent)


@pytest.mark.parametrize("blind", [False, True], ids=["told", "seen"])
def test_what_changes_between_two_watches_is_told(follow, library, tmp_path, blind):
    """A folder goes, which is told, or seen where nobody tells; the other one changes while nobody watches it."""
    other = tmp_path / "other"
    other.mkdir()

    def watch(*folders, **more):
        try:
            for changes in watchfiles.watch(*folders, **more):
                yield set() if blind and not library.exists() else changes
        finally:
            (other / "between.jpg").write_bytes(b"between")

    following = follow(library, other, watch=watch)
    next(following.news)
    (library / "new.jpg").write_bytes(b"new")
    following.until_changed(library)
    library.rename(tmp_path / "gone")
    assert following.until(lambda news: news.away).changed == {str(other)}


def test_a_hidden_folder_ends_no_watch(follow, library):
    begun: list[int] = []

    def watch(*folders, **more):
        begun.append(len(folders))
        return watchfiles.watch(*folders, **more)

    following = follow(library, watch=watch)
    next(following.news)
    (library / ".thumbnails").mkdir()
    for name in ("seen.jpg", "later.jpg"):
        (library / name).write_bytes(b"seen")
        following.until(lambda _, path=str(library / name): path in following.follower._recent or len(begun) > 1)
    assert len(begun) == 1


def test_links_to_folders_are_not_followed(library, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "below").mkdir(parents=True)
    (library / "link").symlink_to(elsewhere)
    (library / ".hidden").mkdir()
    Path(os.fsdecode(os.fsencode(library) + b"/\xff")).mkdir()
    assert {*folders_below(str(library))} == {str(library), str(library / "trip")}


def test_a_file_that_grows_unnoticed_is_told_as_long_as_it_does(follow, library):
    """As where the kernel doesn't tell: only the first change is."""
    growing = library / "growing.jpg"

    def first_only(*folders, **more):
        yield {(watchfiles.Change.added, str(growing))}
        while True:
            with growing.open("ab") as file:
                file.write(b"more")
            yield set()

    growing.write_bytes(b"begun")
    following = follow(library, watch=first_only)
    next(following.news)
    assert [next(following.news).changed for _ in range(5)] == [{str(library)}] * 5


def test_a_folder_that_goes_is_told_and_when_it_is_back_it_counts_as_changed(follow, library, tmp_path):
    following = follow(library)
    next(following.news)
    library.rename(tmp_path / "gone")
    told = following.until(lambda news: news.away)
    assert "nothing is imported" in told.away[str(library)]
    assert told.changed == set()
    (tmp_path / "gone").rename(library)
    assert following.until_changed(library).away == {}


def test_one_that_goes_holds_up_no_other(follow, library, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    following = follow(library, other)
    next(following.news)
    shutil.rmtree(library)
    following.until(lambda news: str(library) in news.away)
    (other / "new.jpg").write_bytes(b"new")
    assert following.until(lambda news: news.changed).changed == {str(other)}


def test_a_folder_on_what_is_not_mounted_now_is_not_there(library):
    at = str(library)
    away = absent([at], {at: ("/", "/nowhere/usb")})
    assert away == {at: f"/nowhere/usb isn't mounted: nothing is imported from {at} until it is."}
    assert absent([at], {at: ("/",)}) == {}


def test_where_something_is_mounted_is_noted(follow, library):
    assert next(follow(library).news).mounts[str(library)][0] == _mount_of(library)


def _mount_of(path: Path) -> str:
    while not path.is_mount():
        path = path.parent
    return str(path)


def test_without_the_kernel_s_help_files_are_looked_at_and_it_is_said(follow, library):
    def limited(*folders, force_polling, **more):
        if not force_polling:
            raise OSError("OS file watch limit reached.")
        yield from watchfiles.watch(*folders, force_polling=True, **more)

    following = follow(library, watch=limited)
    assert "max_user_watches" in next(following.news).polled
    (library / "trip" / "new.jpg").write_bytes(b"new")
    assert "max_user_watches" in following.until_changed(library).polled


_IN_NAMESPACE = """
import sys, threading
from pipelines.bulk.following import Follower, Pace
news = Follower({sys.argv[1]: {"image"}}, {}, Pace(step_ms=20, tick_ms=40)).news(threading.Event())
print(next(news).polled)
"""


@pytest.mark.parametrize("limit", ["max_inotify_watches", "max_inotify_instances"])
def test_the_kernel_s_own_limits_are_noticed(library, limit):
    """In a user namespace with a limit of its own."""
    script = f'echo 0 > /proc/sys/user/{limit} && exec "$0" -c "$1" "$2"'
    command = ["unshare", "-U", "-r", "sh", "-c", script, sys.executable, _IN_NAMESPACE, str(library)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[4])
    if "unshare" in done.stderr or "/proc/sys/user" in done.stderr:
        pytest.skip("no user namespaces here")
    assert "max_user_watches" in done.stdout, done.stderr


def test_what_can_t_be_followed_at_all_is_raised(follow, library):
    def never(*_folders, **_more):
        raise OSError("no")
        yield

    with pytest.raises(OSError, match="no"):
        next(follow(library, watch=never).news)
