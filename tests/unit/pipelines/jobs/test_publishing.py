"""Files on their way to a disk and to object storage."""

from pathlib import Path

import pytest
from object_server import BUCKET, ObjectServer
from unit.refusals import code_of

from cluster.locations import Location, location_of
from cluster.object_paths import object_path
from cluster.roots import ObjectAccess, Roots
from pipelines.jobs.errors import UnitDroppedError
from pipelines.jobs.models import Artifact, Joined
from pipelines.jobs.publishing import check_output, clear_way, publish_all, stage_all

JOB = "job"
OBJECT = object_path(f"s3://{BUCKET}/out/a.mp4")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


@pytest.fixture
def roots(s3: ObjectServer, films: Path, tmp_path: Path) -> Roots:
    folder = object_path(f"s3://{BUCKET}/out")
    return Roots((), (films,), ObjectAccess((), (folder,), s3.addresses, tmp_path / "fetched", 1 << 30))


def joined(made: list[Path], targets: list[Location], roots: Roots, scratch: Path) -> Joined:
    clear_way(targets, roots, JOB, overwrite=False)
    staged = stage_all(made, targets, roots, JOB, 7, scratch)
    artifacts = [
        Artifact(name=target.name, path=str(target), size_bytes=path.stat().st_size, media_type="video/mp4")
        for path, target in zip(made, targets, strict=True)
    ]
    return Joined(result={}, artifacts=tuple(artifacts), staged=staged)


def test_each_goes_where_it_belongs_and_none_is_seen_before(roots, films, scratch, s3):
    made = [scratch / "report", scratch / "film"]
    for path in made:
        path.write_text(path.name)
    whole = joined(made, [films / "report.json", OBJECT], roots, scratch)
    assert not (films / "report.json").exists()
    assert s3.keys() == []
    for _ in range(2):  # the second time as after a crash
        publish_all(whole, roots, overwrite=False, held=lambda: True)
    assert (films / "report.json").read_text() == "report"
    assert s3.get("out/a.mp4").text == "film"


def test_nothing_is_uploaded_for_a_unit_that_was_taken_away(roots, scratch, s3):
    (scratch / "film").write_text("film")
    whole = joined([scratch / "film"], [OBJECT], roots, scratch)
    with pytest.raises(UnitDroppedError):
        publish_all(whole, roots, overwrite=False, held=lambda: False)
    assert s3.keys() == []


def test_what_another_wrote_meanwhile_stays(roots, scratch, s3):
    (scratch / "film").write_text("film")
    whole = joined([scratch / "film"], [OBJECT], roots, scratch)
    s3.put("out/a.mp4", b"theirs")
    assert code_of(publish_all, whole, roots, overwrite=False, held=lambda: True) == "output_exists"
    publish_all(whole, roots, overwrite=True, held=lambda: True)
    assert s3.get("out/a.mp4").text == "film"


def test_an_output_is_checked_before_the_work(roots, s3, films):
    check_output(OBJECT, roots, folder=False, overwrite=False)
    s3.put("out/a.mp4", b"theirs")
    assert code_of(check_output, OBJECT, roots, folder=False, overwrite=False) == "output_exists"
    check_output(OBJECT, roots, folder=False, overwrite=True)
    check_output(OBJECT.parent, roots, folder=True, overwrite=False)
    elsewhere = location_of(f"s3://{BUCKET}/in/a.mp4")
    assert code_of(check_output, elsewhere, roots, folder=True, overwrite=False) == "output_outside_roots"
    assert code_of(clear_way, [elsewhere], roots, JOB, overwrite=True) == "output_outside_roots"
    assert code_of(check_output, films / "film.mkv", roots, folder=False, overwrite=False) == "output_exists"
