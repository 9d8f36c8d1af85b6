"""Side-cars beside a collection's files: found, merged by rule, read again only where they changed."""

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import media_factory as factory
import pyarrow as pa
import pytest
from PIL import Image
from unit.pipelines.bulk.desk import HereAndNow, report, settle

from pipelines.bulk import sidecars
from pipelines.bulk.collection import Collection
from pipelines.bulk.driving import RUN
from pipelines.bulk.operations.collection_enrich import OPERATION
from pipelines.bulk.sidecars import sidecar_task
from pipelines.bulk.view import CollectionView, Query
from pipelines.jobs.errors import UnitDroppedError
from pipelines.jobs.models import Unit


def results(collection: Collection, prefer: Any = "sidecar") -> dict[str, dict[str, Any]]:
    """What is told of each file, by its name."""
    rows = collection.results(sidecar_task(prefer)).read().to_pylist()
    uris = set(collection.files.read()["uri"].to_pylist())
    return {Path(row["identity"]).name: json.loads(row["result"]) for row in rows if row["identity"] in uris}


def enriched(desk, **params: Any) -> dict[str, Any]:
    outcome = desk.do(OPERATION, "collection:all", what=("sidecars",), **params)
    told: dict[str, Any] = outcome.result.model_dump(mode="json")["sidecars"]
    return told


def tagged(path: Path, **tags: str) -> Path:
    with av.open(str(path), "w") as output:
        output.metadata.update(tags)
        stream = output.add_stream("flac", rate=48_000)
        output.mux(stream.encode(factory.sound_frame(factory.tone(0.05, -23.0), 0.0)))
        output.mux(stream.encode(None))
    return path


@pytest.fixture
def library(desk) -> Path:
    (desk.library / "sub").mkdir()
    for name in ("film.mkv", "sub/other.mkv", "plain.mkv"):
        tagged(desk.library / name, title=f"tag of {name}", artist="Ann")
    Image.new("RGB", (32, 32), "red").save(desk.library / "sub" / "beach.jpg")
    (desk.library / "film.nfo").write_text("<movie><title>Film</title><year>1999</year></movie>")
    (desk.library / "film.mkv.json").write_text('{"rating": 5, "year": "2000"}')
    (desk.library / "sub" / "beach.JSON").write_text('{"place": "Sylt"}')
    (desk.library / "metadata.csv").write_text("path,shelf,place\nsub/beach.jpg,A1,above\nsub/other.mkv,B2,\n")
    settle(desk.library)
    return desk.library


def test_fields_are_merged_the_nearest_side_car_first(desk, library, imported):
    collection = imported()
    assert enriched(desk)["files"] == 4
    told = results(collection)
    assert told["film.mkv"]["fields"] == {
        "title": "Film",
        "year": "2000",
        "rating": "5",
        "artist": "Ann",
        "encoder": told["film.mkv"]["fields"]["encoder"],
    }
    assert told["film.mkv"]["origins"]["title"] == "film.nfo"
    assert told["film.mkv"]["origins"]["artist"] == "file"
    assert told["beach.jpg"]["fields"] == {"shelf": "A1", "place": "Sylt"}
    assert told["other.mkv"]["fields"]["shelf"] == "B2"
    assert told["plain.mkv"]["fields"] == {}


@pytest.mark.parametrize("how", [shutil.copy2, os.link])
def test_side_cars_are_of_the_file_they_lie_beside_whatever_else_holds_its_content(desk, library, imported, how):
    how(library / "film.mkv", library / "again.mkv")
    (library / "again.nfo").write_text("<movie><title>Again</title></movie>")
    settle(library)
    collection = imported()
    assert enriched(desk)["files"] == 5
    assert [results(collection)[name]["fields"]["title"] for name in ("film.mkv", "again.mkv")] == ["Film", "Again"]
    (library / "again.nfo").unlink()
    assert enriched(desk)["done"] == 1  # the table above them is left
    with CollectionView(collection) as view:
        rows = view.rows(Query(columns="path, title"), limit=10).to_pylist()
    titles = {row["path"]: row["title"] for row in rows}
    assert titles["film.mkv"] == "Film"
    assert titles["again.mkv"] != "Film"


def test_by_the_other_rule_the_file_s_own_tags_count(desk, library, imported):
    collection = imported()
    enriched(desk, prefer="file")
    assert results(collection, "file")["film.mkv"]["fields"]["title"] == "tag of film.mkv"
    assert results(collection, "file")["film.mkv"]["fields"]["year"] == "2000"


def test_only_what_changed_is_read_again(desk, library, imported):
    collection = imported()
    assert enriched(desk)["done"] == 4
    assert enriched(desk)["known"] == 4
    (library / "film.nfo").write_text("<movie><title>Film II</title></movie>")
    assert enriched(desk)["done"] == 1
    assert results(collection)["film.mkv"]["fields"]["title"] == "Film II"
    assert enriched(desk, fresh=True)["done"] == 4


def test_with_a_new_file_in_its_place_side_car_and_tags_are_merged_anew(desk, library, imported):
    imported()
    enriched(desk)
    tagged(library / "film.mkv", title="tag of another film", artist="Bob")  # its side-cars stay as they are
    collection = imported()
    assert enriched(desk)["done"] == 1
    assert results(collection)["film.mkv"]["fields"]["artist"] == "Bob"


def test_nothing_is_kept_of_a_file_that_the_collection_has_no_more(desk, library, imported):
    collection = imported()
    enriched(desk)
    gone = str(library / "sub" / "beach.jpg")
    collection.files.drop(pa.array([gone]), datetime.now(UTC))
    enriched(desk)
    kept = collection.results(sidecar_task("sidecar")).read(("identity",))["identity"].to_pylist()
    assert len(kept) == 3
    assert gone not in kept


def test_only_side_cars_of_what_meets_a_condition_are_read(desk, library, imported):
    shutil.copy2(library / "film.mkv", library / "again.mkv")  # the same content
    shutil.copy2(library / "film.nfo", library / "again.nfo")
    settle(library)
    collection = imported()
    assert enriched(desk, where="path = 'film.mkv'")["files"] == 1
    assert list(results(collection)) == ["film.mkv"]


def test_fields_go_with_their_side_car(desk, library, imported):
    collection = imported()
    enriched(desk)
    (library / "sub" / "beach.JSON").unlink()
    (library / "metadata.csv").unlink()
    assert enriched(desk)["gone"] == 3
    assert results(collection)["beach.jpg"]["fields"] == {}
    assert enriched(desk)["gone"] == 0


def test_what_a_killed_driver_read_counts_as_done_by_the_job(desk, library, imported, monkeypatch):
    imported()
    monkeypatch.setattr(sidecars, "_BATCH", 1)
    bench = desk.begin(OPERATION, "collection:all", what=("sidecars",))
    with pytest.raises(UnitDroppedError):
        OPERATION.run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench, most=3))
    told = OPERATION.run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench)).sidecars
    assert (told.files, told.done, told.known) == (4, 4, 0)


def test_what_a_killed_driver_told_to_be_gone_counts(desk, library, imported, monkeypatch):
    imported()
    enriched(desk)
    (library / "film.nfo").write_text("<movie><title>Film II</title></movie>")
    (library / "sub" / "beach.JSON").unlink()
    (library / "metadata.csv").unlink()
    bench = desk.begin(OPERATION, "collection:all", what=("sidecars",))
    with pytest.raises(UnitDroppedError):
        OPERATION.run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench, most=0))
    told = OPERATION.run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench)).sidecars
    assert (told.files, told.done, told.known, told.gone) == (1, 1, 0, 3)


def test_a_side_car_that_can_t_be_read_is_told_and_holds_up_no_other(desk, library, imported):
    collection = imported()
    (library / "film.nfo").write_text('<!DOCTYPE x [<!ENTITY a "b">]><movie><title>&a;</title></movie>')
    (library / "sub" / "other.nfo").write_text("no XML")
    (library / "metadata.csv").unlink()
    outcome = desk.do(OPERATION, "collection:all", what=("sidecars",))
    assert outcome.result.sidecars.failed == 1
    told = results(collection)
    assert told["film.mkv"]["fields"]["rating"] == "5"
    assert "entities" in told["film.mkv"]["problems"][0]
    (failed,) = report(outcome, "failed.jsonl")
    assert (failed["task"], Path(failed["uri"]).name, failed["code"]) == ("sidecar", "other.mkv", "source_unsupported")


def test_a_side_car_behind_a_link_out_of_the_roots_isn_t_read(desk, library, imported, tmp_path):
    collection = imported()
    (tmp_path / "secret.json").write_text('{"secret": "x"}')
    (library / "plain.json").symlink_to(tmp_path / "secret.json")
    enriched(desk)
    assert "secret" not in results(collection)["plain.mkv"]["fields"]
    assert results(collection)["plain.mkv"]["problems"]
