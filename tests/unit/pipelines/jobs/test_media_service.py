"""The cache as a replica sees it, on a real Redis."""

import asyncio
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
from object_server import BUCKET
from unit.pipelines.jobs.makers import held

from cluster import identity
from cluster.cache import Cache, Version, address_of
from cluster.errors import StorageError
from cluster.grants import current_roots
from cluster.near_cache import NearCache
from cluster.sources import open_source
from pipelines.jobs import media_service
from pipelines.jobs.errors import CacheAwayError, InvalidError, UnknownError
from pipelines.jobs.media_service import MediaService
from pipelines.jobs.models import JobError
from pipelines.jobs.served_media import MediaText
from pipelines.jobs.served_pictures import KnownPicture, ServedPicture, etag_of
from pipelines.jobs.service import RefusedError
from pipelines.jobs.single_flight import SingleFlight
from pipelines.media.images.thumbnail_spec import ThumbnailSpec


class Lane:
    """Numbers its answers, unless it has another. ``before``: what happens before it looks at the source.

    While ``open`` is cleared, whoever asks waits.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.answer: JobError | None = None
        self.stamp: str | None = None  # of what it looked at; that of a file
        self.forgotten: list[str] = []
        self.before: Callable[[], object] = lambda: None
        self.open, self.reached = asyncio.Event(), asyncio.Event()
        self.open.set()

    async def picture(self, source: str, spec: ThumbnailSpec) -> ServedPicture | JobError:
        number = await self._turn()
        return self.answer or ServedPicture(path=source, media_type="image/jpeg", etag=f"{spec.format}{number}")

    async def media(self, source: str) -> MediaText | JobError:
        number = await self._turn()
        self.before()
        stamp = self.stamp or identity.stamp_of(Path(source).stat()).digest
        return self.answer or MediaText(f'{{"asked": {number}}}', stamp)

    async def _turn(self) -> int:
        self.asked += 1
        number = self.asked
        self.reached.set()
        await self.open.wait()
        return number

    async def forget(self, tags: Collection[str]) -> None:
        self.forgotten += tags


@pytest.fixture
def lane():
    return Lane()


def identities_of(collection: str) -> list[str]:
    """Of collections, which are folders here."""
    if not Path(collection).is_dir():
        raise StorageError("collection_not_found", "none")
    return [identity_of(file) for file in Path(collection).iterdir()]


def identity_of(file: Path) -> str:
    with file.open("rb") as opened:
        return identity.identify(opened.fileno()).digest


@pytest.fixture
def media(run, settings, lane, redis_url, monkeypatch):
    monkeypatch.setattr(identity, "SETTLED_S", -1.0)
    near = NearCache(redis_url)
    media = MediaService(settings, lane, near, Cache(redis_url), frozenset({"probe"}), identities_of)

    async def start() -> None:
        media.start()
        async with asyncio.timeout(10):
            while not near.listening:
                await asyncio.sleep(0.005)

    run(start())
    yield media
    run(media.stop())


@pytest.fixture
def film(films):
    return films / "film.mkv"


def asked(run, media, film) -> list[str]:
    return [run(media.media(str(film))) for _ in range(2)]


def test_what_was_asked_for_is_at_hand(run, media, lane, film):
    assert asked(run, media, film) == ['{"asked": 1}'] * 2
    assert run(media.stats())["near_hits"] == 1


def test_a_changed_file_is_seen_at_the_next_look(run, media, film):
    run(media.media(str(film)))
    film.write_bytes(b"changed")
    assert asked(run, media, film) == ['{"asked": 2}'] * 2


def test_a_link_that_is_turned_meanwhile_leaves_no_answer_under_the_other_file(run, media, lane, films):
    """Atomically, back and forth: what the lane saw is never told of what the replica saw."""
    one, two, link = films / "film.mkv", films / "other.mkv", films / "link.mkv"
    two.write_bytes(b"another")

    def lead_to(target):
        (films / "next").symlink_to(target)
        (films / "next").replace(link)

    lead_to(one)
    lane.before = lambda: lead_to(two)
    run(media.media(str(link)))
    lead_to(one)
    lane.before = lambda: None
    assert run(media.media(str(link))) == '{"asked": 2}'


def test_a_file_that_may_still_be_written_is_asked_for_each_time(run, media, film, monkeypatch):
    monkeypatch.setattr(identity, "SETTLED_S", 3600.0)
    assert asked(run, media, film) == ['{"asked": 1}', '{"asked": 2}']


def test_what_can_t_be_read_is_told_and_not_kept(run, media, lane, film):
    lane.answer = JobError(code="not_media", message="No media.")
    for _ in range(2):
        with pytest.raises(RefusedError) as refused:
            run(media.media(str(film)))
        assert refused.value.error.code == "not_media"
    assert lane.asked == 2


def test_what_is_at_hand_is_refused_to_nobody_but_who_may_not_read_it(run, media, settings, film, tmp_path):
    run(media.media(str(film)))
    media._settings = settings.model_copy(update={"roots": (str(tmp_path / "elsewhere"),)})
    with pytest.raises(StorageError) as refused:
        run(media.media(str(film)))
    assert refused.value.code == "source_outside_roots"


@pytest.mark.parametrize("what", ["source", "operation", "collection"])
def test_a_purge_forgets_here_in_the_lane_and_in_the_cache(run, media, lane, film, redis_url, what):
    cache = Cache(redis_url)
    at = address_of("probe", [Version(identity_of(film), "", "")], {}, "engine")
    cache.put(at, "1", "metadata", cache.look(at))
    run(media.media(str(film)))
    named = {"source": str(film), "operation": "probe", "collection": str(film.parent)}
    run(media.purge(**{what: named[what]}))
    assert cache.look(at).value is None
    assert lane.forgotten == [at.tags[what != "operation"]]
    assert run(media.media(str(film))) == '{"asked": 2}'


SPEC = ThumbnailSpec(sizes=("32",))


@pytest.mark.parametrize(
    "ask",
    [lambda media, film: media.media(film), lambda media, film: media.picture(film, SPEC)],
    ids=["media", "picture"],
)
def test_many_who_ask_at_once_take_one_place_of_the_lane(run, media, lane, film, ask, monkeypatch):
    looked, all_looked, result = [], asyncio.Event(), SingleFlight.result

    async def counted(*given: Any) -> object:
        looked.append(given)
        if len(looked) == 50:
            all_looked.set()
        return await result(*given)

    monkeypatch.setattr(SingleFlight, "result", counted)

    async def main() -> list[object]:
        lane.open.clear()
        asked = [asyncio.create_task(ask(media, str(film))) for _ in range(50)]
        await all_looked.wait()
        await lane.reached.wait()
        lane.open.set()
        return await asyncio.gather(*asked)

    answers = run(main())
    assert answers == answers[:1] * 50
    assert lane.asked == 1


def test_nobody_shares_what_was_begun_before_an_edit_or_a_purge(run, media, lane, film):
    async def main() -> set[str]:
        lane.open.clear()
        asked = [asyncio.create_task(media.media(str(film)))]
        await lane.reached.wait()
        await media.purge(source=str(film))
        asked.append(asyncio.create_task(media.media(str(film))))
        await asyncio.sleep(0)
        film.write_bytes(b"another")
        asked.append(asyncio.create_task(media.media(str(film))))
        await asyncio.sleep(0)
        lane.open.set()
        return set(await asyncio.gather(*asked))

    assert len(run(main())) == 3


def test_nobody_shares_a_picture_of_what_the_file_was(run, media, lane, film):
    async def main() -> set[str]:
        lane.open.clear()
        first = asyncio.create_task(media.picture(str(film), SPEC))
        await lane.reached.wait()
        film.write_bytes(b"another")
        second = asyncio.create_task(media.picture(str(film), SPEC))
        lane.open.set()
        return {(await each).etag for each in (first, second)}

    assert len(run(main())) == 2


def test_what_was_found_out_about_an_object_is_purged_by_its_uri(run, media, settings, lane, s3, redis_url):
    s3.put("films/film.mkv", b"a film")
    uri, cache = f"s3://{BUCKET}/films/film.mkv", Cache(redis_url)
    media._settings = settings.model_copy(update={"roots": (f"s3://{BUCKET}/films/",), "s3_endpoint": s3.url})
    with open_source(uri, current_roots(media._settings)) as opened:
        at = address_of("probe", [Version(opened.identity().digest, "", "")], {}, "engine")
    cache.put(at, "1", "metadata", cache.look(at))
    run(media.purge(source=uri))
    assert cache.look(at).value is None


@pytest.fixture
def hung(media, monkeypatch):
    """A share on which an open doesn't come back, until the test ends."""
    back = threading.Event()
    monkeypatch.setattr(media_service, "open_source", lambda *_: back.wait(20))
    yield
    back.set()


@pytest.mark.parametrize(
    "ask",
    [lambda media, film: media.picture(film, SPEC), lambda media, film: media.check_source(film)],
    ids=["picture", "link"],
)
def test_a_share_that_hangs_holds_up_who_asks_for_its_pictures_alone(run, media, film, hung, ask):
    assert run(held(lambda: ask(media, str(film))))


def test_who_asks_for_a_picture_on_a_share_that_hangs_is_told(run, media, film, hung, monkeypatch):
    monkeypatch.setattr(media_service, "_LIMIT_S", 0.05)
    with pytest.raises(StorageError, match="didn't answer within") as refused:
        run(media.picture(str(film), SPEC))
    assert refused.value.code == "storage_unavailable"


@pytest.fixture
def silent(media, settings, silent_store):
    """Purge an object of a store that says nothing."""
    roots = {"roots": ("s3://films/",), "s3_endpoint": silent_store}
    media._settings = settings.model_copy(update=roots)
    return lambda: media.purge(source="s3://films/a.mkv")


def test_a_store_that_says_nothing_of_what_is_purged_is_told(run, silent, monkeypatch):
    monkeypatch.setattr(media_service, "_LIMIT_S", 0.05)
    with pytest.raises(StorageError, match="didn't answer within") as refused:
        run(silent())
    assert refused.value.code == "storage_unavailable"


def test_a_store_that_says_nothing_of_what_is_purged_holds_nobody_else(run, silent):
    assert run(held(silent))


def test_a_purge_says_what_is_wrong_with_it(run, media, films):
    with pytest.raises(InvalidError):
        run(media.purge())
    with pytest.raises(UnknownError):
        run(media.purge(operation="prob"))
    with pytest.raises(StorageError):
        run(media.purge(source=str(films / "none.mkv")))
    with pytest.raises(StorageError):
        run(media.purge(collection="none"))


def test_without_the_cache_files_are_read_and_nothing_is_purged(run, settings, lane, film, tmp_path):
    url = f"unix://{tmp_path}/none.sock"
    media = MediaService(settings, lane, NearCache(url), Cache(url), frozenset({"probe"}), identities_of)
    assert asked(run, media, film) == ['{"asked": 1}', '{"asked": 2}']
    with pytest.raises(CacheAwayError):
        run(media.purge(operation="probe"))
    assert run(media.stats()) is None


@pytest.mark.parametrize("what", ["media", "picture"])
def test_an_object_is_known_again_by_what_its_store_notes(run, media, settings, lane, s3, what):
    s3.put("films/film.mkv", b"a film")
    uri = f"s3://{BUCKET}/films/film.mkv"
    media._settings = settings.model_copy(update={"roots": (f"s3://{BUCKET}/films/",), "s3_endpoint": s3.url})
    with open_source(uri, current_roots(media._settings)) as opened:
        stamp = opened.stamp()
    lane.stamp = stamp.digest
    if what == "media":
        assert [run(media.media(uri)) for _ in range(2)] == ['{"asked": 1}'] * 2
        s3.put("films/film.mkv", b"another")
        assert run(media.media(uri)) == '{"asked": 2}'
    else:
        etag = etag_of(stamp, SPEC)
        assert run(media.picture(uri, SPEC, {etag})) == KnownPicture(etag=etag)
        s3.put("films/film.mkv", b"another")
        assert isinstance(run(media.picture(uri, SPEC, {etag})), ServedPicture)


@pytest.mark.parametrize("ask", ["media", "picture"])
def test_a_store_that_says_nothing_holds_up_who_asks_for_its_objects_alone(run, media, settings, silent_store, ask):
    roots = {"roots": ("s3://films/",), "s3_endpoint": silent_store}
    media._settings = settings.model_copy(update=roots)
    arguments = ("s3://films/a.mkv",) if ask == "media" else ("s3://films/a.mkv", SPEC)
    assert run(held(lambda: getattr(media, ask)(*arguments)))
