from pathlib import Path

import pytest
from unit.refusals import code_of

from cluster.errors import StorageError
from cluster.locations import local_path, location_of
from cluster.object_paths import object_path


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/films/a.mkv", "/films/a.mkv"),
        ("/films/../a.mkv", "/a.mkv"),
        ("/films/a%20b.mkv", "/films/a%20b.mkv"),
        ("file:///films/a%20b.mkv", "/films/a b.mkv"),
        ("file://localhost/films/a.mkv", "/films/a.mkv"),
        ("file:/films/a.mkv", "/films/a.mkv"),
        ("file:///films/%C3%A9.mkv", "/films/é.mkv"),
        ("/" + "é" * 127, "/" + "é" * 127),
    ],
)
def test_paths_and_file_uris_name_files(uri, expected):
    assert local_path(uri) == Path(expected)


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("", "source_invalid"),
        ("a.mkv", "source_invalid"),
        ("file:a.mkv", "source_invalid"),
        ("file:", "source_invalid"),
        ("/a\0b", "source_invalid"),
        ("file:///a%00b", "source_invalid"),
        ("http://[", "source_invalid"),
        ("/\ud800", "source_invalid"),
        ("/" + "a" * 256, "source_invalid"),
        ("/a" * 3000, "source_invalid"),
        ("file://server/a.mkv", "scheme_unsupported"),
        ("https://example.org/a.mkv", "scheme_unsupported"),
        ("s3://bucket/a.mkv", "scheme_unsupported"),
    ],
)
def test_everything_else_is_refused(uri, code):
    assert code_of(local_path, uri) == code


def test_a_location_is_a_path_or_an_object():
    assert location_of("/films/a.mkv") == Path("/films/a.mkv")
    assert location_of("file:///films/a.mkv") == Path("/films/a.mkv")
    assert location_of("s3://films/a.mkv") == object_path("s3://films/a.mkv")
    with pytest.raises(StorageError, match=r"not supported.*s3://bucket/key"):
        location_of("ftp://films/a.mkv")
