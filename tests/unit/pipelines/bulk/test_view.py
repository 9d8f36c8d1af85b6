"""The view of a collection: one row a file, with what every task came to."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from unit.pipelines.bulk.shelves import ANALYSIS, FILM, NOON, PICTURE, PROBE, SOUND, row, shelf, tell

from pipelines.bulk.tasks import Task, task_of
from pipelines.bulk.view import CollectionView, Query, page, selected, task_prefixes
from pipelines.jobs.errors import InvalidError


def asked(collection, where=None, columns="*", order_by=None, limit=100, offset=0):
    query = Query(where, columns, order_by)
    with CollectionView(collection, query.text) as view:
        return view.rows(query, limit=limit, offset=offset).to_pylist()


def told(collection, path, columns="*"):
    (found,) = asked(collection, f"path = '{path}'", columns)
    return found


def test_there_is_a_row_for_each_file_by_uri(tmp_path):
    rows = asked(shelf(tmp_path))
    assert [each["path"] for each in rows] == ["a.mkv", "b.mkv", "c.jpg", "d.jpg", "e.flac"]
    assert "stamp" not in rows[0]


def test_a_film_is_told_by_its_picture_and_not_by_its_cover(tmp_path):
    film = told(shelf(tmp_path), "a.mkv")
    names = ("format", "duration_s", "bit_rate_bps", "width", "height", "video_codec", "bits", "hdr", "title")
    assert [film[name] for name in names] == [
        *("matroska,webm", 60.0, 4_000_000, 1920, 1080, "h264", 8, "sdr", "Nosferatu")
    ]
    assert film["frame_rate"] == pytest.approx(30000 / 1001)
    assert (film["audio_codec"], film["sample_rate_hz"], film["channels"], film["language"]) == ("aac", 48_000, 6, "de")


def test_a_sound_is_told_by_its_first_track(tmp_path):
    sound = told(shelf(tmp_path), "e.flac")
    assert (sound["audio_codec"], sound["loudness_lufs"], sound["true_peak_dbtp"]) == ("flac", -14.2, -1.0)
    assert (sound["video_codec"], sound["width"]) == (None, None)


def test_a_picture_is_told_by_its_analysis(tmp_path):
    picture = told(shelf(tmp_path), "c.jpg")
    names = ("format", "width", "height", "quality_score", "phash", "colour", "hdr", "frames")
    assert [picture[name] for name in names] == ["jpeg", 4000, 3000, 71.5, "ffee000011112222", "#aa5500", "sdr", 1]


def test_side_cars_and_checksums_are_told(tmp_path):
    collection = shelf(tmp_path)
    tell(collection, Task(operation="sidecar"), {"a.mkv": {"fields": {"title": "Nosferatu, restored", "year": "1922"}}})
    tell(collection, task_of("checksum", {}), {"a.mkv": {"blake3": "ab" * 32, "size_bytes": 5}})
    film = told(collection, "a.mkv")
    assert (film["title"], film["blake3"]) == ("Nosferatu, restored", "ab" * 32)
    assert len(asked(collection, "(sidecar_result->>'$.fields.year')::INTEGER = 1922")) == 1


def test_what_a_task_failed_with_stands_in_its_columns(tmp_path):
    broken = told(shelf(tmp_path), "b.mkv")
    assert (broken["probe_state"], broken["probe_code"], broken["probe_attempts"]) == ("failed", "media_invalid", 3)
    assert broken["image_analyze_state"] is None
    assert broken["format"] is None


@pytest.mark.parametrize("columns", ["COLUMNS('analyze_state$')", "files"])
def test_columns_by_a_pattern_and_rows_as_a_value_tell_what_columns_by_name_do(tmp_path, columns):
    collection = shelf(tmp_path)
    query = Query("path = 'c.jpg'", columns)
    (by_page,), (found,) = page(collection, query, limit=1).to_pylist(), asked(collection, query.where, columns)
    (value,) = found.values()
    assert by_page == found
    assert (value["image_analyze_state"] if columns == "files" else value) == "done"


def test_times_are_in_utc(tmp_path):
    assert told(shelf(tmp_path), "a.mkv", "modified_at")["modified_at"] == NOON
    assert len(asked(shelf(tmp_path), "modified_at = TIMESTAMP '2026-01-01 12:00:00'")) == 5
    assert asked(shelf(tmp_path), "modified_at > now()") == []


def test_the_last_of_several_tasks_of_an_operation_has_its_name(tmp_path):
    collection = shelf(tmp_path)
    packets = task_of("probe", {"packets": True})
    tell(collection, packets, {"a.mkv": {**FILM, "container": "new"}})
    prefixes = task_prefixes(collection)
    assert prefixes["probe"] == packets
    assert prefixes[f"probe_{PROBE.key[-12:-6]}"] == PROBE
    assert told(collection, "a.mkv")["format"] == "new"


def test_what_the_last_task_of_an_operation_doesn_t_tell_of_a_file_an_earlier_one_does(tmp_path):
    collection = shelf(tmp_path)
    tell(collection, task_of("probe", {"deep": True}), {"e.flac": {**SOUND, "container": "new"}})
    assert [told(collection, each)["format"] for each in ("a.mkv", "e.flac")] == ["matroska,webm", "new"]
    tell(collection, task_of("probe", {"packets": True}), {"e.flac": {**SOUND, "container": "newer", "sound": None}})
    sound = told(collection, "e.flac")
    assert (sound["format"], sound["loudness_lufs"]) == ("newer", -14.2)


def test_results_are_told_as_json(tmp_path):
    assert len(asked(shelf(tmp_path), "(probe_result->>'$.tags.title') = 'Nosferatu'")) == 1


def test_a_result_that_is_no_json_tells_nothing(tmp_path):
    collection = shelf(tmp_path, [row("c.jpg")])
    tell(collection, task_of("image-analyze", {"frame": 1}), {"c.jpg": float("nan")})
    assert told(collection, "c.jpg")["format"] is None


def test_counts_are_of_groups(tmp_path):
    rows = asked(
        shelf(tmp_path), columns="kind, count(*) AS files, sum(size_bytes) AS bytes", order_by="files DESC, kind"
    )
    assert [(each["kind"], each["files"]) for each in rows] == [("image", 2), ("video", 2), ("audio", 1)]
    assert rows[0]["bytes"] == 10_000


def test_pages_follow_each_other(tmp_path):
    collection = shelf(tmp_path)
    pages = [asked(collection, order_by="kind", columns="path", limit=2, offset=offset) for offset in (0, 2, 4)]
    assert [each["path"] for page in pages for each in page] == ["e.flac", "c.jpg", "d.jpg", "a.mkv", "b.mkv"]


@pytest.mark.parametrize(
    "query",
    [
        Query(),
        Query(columns="path, width, probe_state"),
        Query("width > 1000 OR kind = 'audio'", "*, uri", "kind DESC"),
        Query("image_analyze_state = 'failed'", "path, code"),
        Query(columns="kind, count(*) AS files", order_by="files DESC"),
        Query(columns="lower(path) AS size_bytes", order_by="size_bytes DESC"),
    ],
)
@pytest.mark.parametrize("offset", [0, 1, 9])
def test_a_page_has_the_rows_that_the_query_has_there(tmp_path, query, offset):
    collection = shelf(tmp_path)
    whole = asked(collection, query.where, query.columns, query.order_by)
    assert page(collection, query, limit=2, offset=offset).to_pylist() == whole[offset : offset + 2]


def test_a_page_loads_no_results_but_those_of_its_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.bulk.tables._ROWS_READ", 8)
    names = [f"{number:03d}.jpg" for number in range(200)]
    collection = shelf(tmp_path, [row(name) for name in names])
    tell(collection, ANALYSIS, {name: {**PICTURE, "long": name * 15_000} for name in names})
    results = collection.results(ANALYSIS)
    results.append("empty", results.schema.empty_table())
    results.compact()
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    try:
        rows = page(collection, Query(columns="path, width"), limit=2, offset=100).to_pylist()
    finally:
        pa.set_memory_pool(before)
    assert rows == [{"path": name, "width": 4000} for name in ("100.jpg", "101.jpg")]
    assert pool.max_memory() < 10 << 20  # all of them take twice as much


def test_a_column_that_isn_t_there_is_told(tmp_path):
    with pytest.raises(InvalidError, match="hight"):
        asked(shelf(tmp_path), "hight < 720")


def test_a_text_in_double_quotes_is_told_to_be_a_column(tmp_path):
    with pytest.raises(InvalidError, match=r"no column image, .*single quotes"):
        asked(shelf(tmp_path), 'kind = "image"')


def test_a_value_of_another_type_is_told(tmp_path):
    with pytest.raises(InvalidError, match="tall"):
        asked(shelf(tmp_path), "height < 'tall'")


def test_the_selection_is_of_contents_and_files(tmp_path):
    (found,) = selected(shelf(tmp_path), "kind = 'audio'").to_pylist()
    assert found["identity"] == "identity of e.flac"
    assert found["uri"].endswith("e.flac")


def test_an_empty_collection_has_columns_and_no_rows(tmp_path):
    collection = shelf(tmp_path, [])
    assert asked(collection, "width > 5") == []
    with CollectionView(collection) as view:
        (only,) = view.batches(Query())
    assert "quality_score" in only.schema.names


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_csv('{file}')",
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM '{file}'",
        "ATTACH '{file}' AS x",
        "COPY files TO '{file}'",
        "COPY (SELECT 1) TO '{file}.new'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "EXPORT DATABASE '{file}.new'",
        "SET enable_external_access = true",
        "SET memory_limit = '100GB'",
        "PRAGMA memory_limit = '100GB'",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM rows_of_this_test",
    ],
)
def test_even_a_statement_of_any_kind_reaches_nothing_outside(tmp_path, statement):
    """The second wall: what is asked for is refused before, by its parts."""
    secret = tmp_path / "secret.csv"
    secret.write_text("secret\n1\n")
    rows_of_this_test = row("secret")
    with CollectionView(shelf(tmp_path)) as view, pytest.raises(InvalidError):
        view.told(statement.format(file=secret))
    assert rows_of_this_test
    assert secret.read_text() == "secret\n1\n"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("secret")] == ["secret.csv"]


def test_many_rows_come_by_uri_without_being_sorted(tmp_path):
    names = [f"{number * 7919 % 5000:04d}.jpg" for number in range(5000)]
    collection = shelf(tmp_path, [row(name) for name in names])
    tell(collection, ANALYSIS, dict.fromkeys(names[::2], PICTURE))
    query = Query("width > 0", "uri")
    with CollectionView(collection, query.text) as view:
        uris = [uri for batch in view.batches(query) for uri in batch["uri"].to_pylist()]
    assert uris == sorted(uris)
    assert len(uris) == 2500


def test_what_can_t_be_worked_out_for_a_late_row_is_told(tmp_path):
    names = [f"{number:05d}" for number in range(4999)]
    collection = shelf(tmp_path, [row(name) for name in (*names, "last")])
    query = Query("path::INTEGER >= 0", "path")
    with CollectionView(collection, query.text) as view, pytest.raises(InvalidError, match="last"):
        list(view.batches(query))


def test_memory_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.bulk.view._MEMORY", "20MB")
    with CollectionView(shelf(tmp_path)) as view, pytest.raises(InvalidError) as refused:
        view.told("SELECT count(DISTINCT range) FROM range(3000000)")
    assert refused.value.code == "query_too_large"


class Slow(Query):
    """Takes for ever."""

    def sql(self, *, limit: int | None = None, offset: int = 0) -> str:
        return "SELECT count(*) FROM range(100000000) a, range(100000000) b"


def test_the_time_is_limited_for_which_a_caller_waits(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.bulk.view._LIMIT_S", 0.2)
    with CollectionView(shelf(tmp_path)) as view, pytest.raises(InvalidError) as refused:
        view.rows(Slow(), limit=1)
    assert refused.value.code == "query_too_large"


def test_a_job_s_statement_may_take_longer_than_a_caller_waits(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.bulk.view._LIMIT_S", 0.05)  # it has begun by then, and isn't done
    statement = "SELECT sum(range % 2) AS odd FROM range(100000000)"  # a mere count is known without counting
    with CollectionView(shelf(tmp_path)) as view:
        view.keep("every", statement)
        assert view.told(statement).to_pylist() == [{"odd": 50_000_000}]


def test_a_job_s_time_is_limited_too(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.bulk.view._JOB_LIMIT_S", 0.2)
    with CollectionView(shelf(tmp_path)) as view, pytest.raises(InvalidError) as refused:
        view.told(Slow().sql())
    assert refused.value.code == "query_too_large"


def test_rows_of_a_file_that_was_renamed_are_told_by_its_content(tmp_path: Path):
    collection = shelf(tmp_path, [row("new.mkv", "video", identity="identity of a.mkv", modified_at=datetime.now(UTC))])
    tell(collection, PROBE, {"a.mkv": FILM})
    assert told(collection, "new.mkv")["height"] == 1080
