from dataclasses import replace
from pathlib import Path

import pytest
from unit.pipelines.jobs.makers import COPY, LOOK, SPLIT, CopyParams, LookParams

from cluster.errors import StorageError
from cluster.object_paths import object_path
from pipelines.jobs.errors import InvalidError
from pipelines.jobs.operations.preview import OPERATION as PREVIEW
from pipelines.jobs.operations.validate import OPERATION as VALIDATE
from pipelines.jobs.targets import check_extension, default_name, resolved_output, target_of

SOURCES = ("/films/a.b.mkv",)


def resolved(operation, output: str | None) -> Path | None:
    return resolved_output(operation, CopyParams(output=output), SOURCES, {})


def test_without_an_output_there_is_none():
    assert resolved(COPY, None) is None


def test_an_operation_that_writes_nothing_has_no_output():
    assert resolved_output(LOOK, LookParams(), SOURCES, {}) is None


def test_a_named_file_is_the_output():
    assert resolved(COPY, "/out/../out/film.mkv") == Path("/out/film.mkv")


def test_a_file_uri_is_the_output():
    assert resolved(COPY, "file:///out/a%20b.mkv") == Path("/out/a b.mkv")


def test_an_existing_folder_gets_a_file_named_after_the_source(tmp_path):
    assert resolved(COPY, str(tmp_path)) == tmp_path / "a.b.mkv"


def test_a_folder_that_isn_t_there_yet_is_told_by_its_slash():
    assert resolved(COPY, "/nowhere/made/") == Path("/nowhere/made/a.b.mkv")


def test_an_object_is_the_output_and_a_folder_of_objects_ends_in_a_slash():
    assert resolved(COPY, "s3://bucket/out/b.mkv") == object_path("s3://bucket/out/b.mkv")
    assert resolved(COPY, "s3://bucket/out/") == object_path("s3://bucket/out/a.b.mkv")
    assert resolved(SPLIT, "s3://bucket/out/") == object_path("s3://bucket/out")
    assert target_of(SPLIT, object_path("s3://bucket/out"), Path("/artifacts"), "made.mkv").name == "made.mkv"


def test_an_object_is_named_such_that_it_can_be_written():
    output = resolved_output(COPY, CopyParams(output="s3://bucket/out/"), ("/films/50%20off.avi",), {})
    assert output == object_path("s3://bucket/out/50_20off.mkv")
    assert target_of(SPLIT, object_path("s3://bucket/out"), Path("/artifacts"), "50%20off.mkv") == output


def test_an_operation_that_fills_a_folder_takes_it_as_it_is(tmp_path):
    assert resolved(SPLIT, f"{tmp_path}/") == tmp_path


@pytest.mark.parametrize("output", ["film.mkv", "", "ftp://host/film.mkv", "s3://bucket/../film.mkv"])
def test_what_isn_t_a_path_is_refused(output):
    with pytest.raises(StorageError):
        resolved(COPY, output)


def test_the_default_name_has_the_source_s_stem_and_the_operation_s_suffix():
    assert default_name(COPY, CopyParams(), ("file:///films/a%20b.c.avi",), {}) == "a b.c.mkv"


@pytest.mark.parametrize(
    ("operation", "output", "expected"),
    [
        (COPY, None, "/artifacts/made.mkv"),
        (COPY, "/out/film.mkv", "/out/film.mkv"),
        (SPLIT, "/out", "/out/made.mkv"),
        (SPLIT, None, "/artifacts/made.mkv"),
    ],
)
def test_where_a_finished_file_goes(operation, output, expected):
    found = target_of(operation, Path(output) if output else None, Path("/artifacts"), "made.mkv")
    assert found == Path(expected)


@pytest.mark.parametrize("name", ["a.mkv", "a.MKV", "a.mka", "a.part1", "a"])
def test_an_extension_of_the_container_or_of_none_is_fine(name):
    check_extension(COPY, CopyParams(), Path("/out", name), {})


def test_an_extension_that_promises_another_container_is_refused():
    with pytest.raises(InvalidError, match=r"named .mp4, but .mkv is made") as refused:
        check_extension(COPY, CopyParams(), Path("/out/a.mp4"), {})
    assert refused.value.code == "output_extension"


def test_a_format_that_has_the_extension_is_named() -> None:
    with pytest.raises(InvalidError, match=r"Name it \.webp, or set format to avif\."):
        check_extension(PREVIEW, PREVIEW.params(), Path("/out/a.avif"), {})
    check_extension(PREVIEW, PREVIEW.params(format="avif"), Path("/out/a.avif"), {})


def test_data_is_not_named_like_data_of_another_format() -> None:
    with pytest.raises(InvalidError, match=r"named \.jsonl, but \.parquet is made\. Name it \.parquet\.$"):
        check_extension(VALIDATE, VALIDATE.params(hashes=True), Path("/out/h.jsonl"), {})


@pytest.mark.parametrize("name", ["a.preview.webp", "a.webp"])
def test_of_an_extension_of_two_parts_the_last_one_counts(name):
    check_extension(
        replace(COPY, suffix=lambda _params, _profiles: ".preview.webp"), CopyParams(), Path("/out", name), {}
    )
    with pytest.raises(InvalidError, match=r"named .avif, but .webp is made"):
        check_extension(
            replace(COPY, suffix=lambda _params, _profiles: ".preview.webp"), CopyParams(), Path("/out/a.avif"), {}
        )


def test_names_in_a_folder_are_the_operation_s():
    check_extension(SPLIT, CopyParams(), Path("/out/a.mp4"), {})
