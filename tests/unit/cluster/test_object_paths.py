from pathlib import PurePosixPath

import pytest

from cluster.errors import StorageError
from cluster.object_paths import ObjectPath, is_object_uri, object_path


@pytest.mark.parametrize(
    ("uri", "scheme", "path"),
    [
        ("s3://films/a.mkv", "s3", "films/a.mkv"),
        ("s3://films/2019/Track #1 (été)?.flac", "s3", "films/2019/Track #1 (été)?.flac"),
        ("s3://films/100%.mkv", "s3", "films/100%.mkv"),
        ("s3://films/2019/", "s3", "films/2019"),
        ("s3://films", "s3", "films"),
    ],
)
def test_a_key_is_taken_as_it_is_written(uri, scheme, path):
    assert object_path(uri) == ObjectPath(scheme, PurePosixPath(path))
    assert str(object_path(uri)) == uri.removesuffix("/")


@pytest.mark.parametrize(
    "uri",
    [
        "s3://films/../secrets/a.mkv",
        "s3://films/2019/..",
        "s3://films/./a.mkv",
        "s3://films//a.mkv",
        "s3://films/a//",
        "s3://films/%2e%2e/a.mkv",
        "s3://films/a%2Fb.mkv",
        "s3://films/a\\b.mkv",
        "s3://films/a\nb.mkv",
        "s3://films/\udce9.mkv",
        "s3://films/" + "a" * 1025,
        "s3:///a.mkv",
        "s3://",
        "s3://key:secret@films/a.mkv",
        "s3://films:80/a.mkv",
        "s3://f?endpoint_override=evil/a.mkv",
        "http://films/a.mkv",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(uri):
    with pytest.raises(StorageError) as refused:
        object_path(uri)
    assert refused.value.code == "source_invalid"


def test_names_are_those_of_paths():
    path = object_path("s3://films/2019/a.b.mkv")
    assert (path.name, path.stem, path.suffix) == ("a.b.mkv", "a.b", ".mkv")
    assert str(path.parent / "c.mkv") == "s3://films/2019/c.mkv"


@pytest.mark.parametrize("uri", ["S3://films/a", "/s3://films/a", "file:///a", "s3:films/a", "https://s3/a"])
def test_other_uris_are_no_objects(uri):
    assert not is_object_uri(uri)


@pytest.mark.parametrize(
    ("uri", "root", "below"),
    [
        ("s3://films/a.mkv", "s3://films", True),
        ("s3://films/2019/a.mkv", "s3://films/2019/", True),
        ("s3://films/2019", "s3://films/2019/", True),
        ("s3://films/2019b/a.mkv", "s3://films/2019", False),
        ("s3://films2/a.mkv", "s3://films", False),
        ("s3://films/a.mkv", "s3://films/2019", False),
    ],
)
def test_a_prefix_counts_by_whole_parts(uri, root, below):
    assert object_path(uri).is_relative_to(object_path(root)) is below


@pytest.mark.parametrize(
    ("name", "key"),
    [("50%20off.jpg", "50_20off.jpg"), ("a\\b\n.jpg", "a_b_.jpg"), ("100%.jpg", "100%.jpg"), ("2019/%41", "2019/_41")],
)
def test_a_file_s_name_becomes_one_that_a_key_is_taken_with(name, key):
    target = object_path("s3://films/out") / name
    assert str(target) == f"s3://films/out/{key}"
    assert object_path(str(target)) == target


@pytest.mark.parametrize("name", ["../a", "a//b", "/a", "a" * 1025])
def test_what_can_t_be_below_is_refused(name):
    with pytest.raises(StorageError) as refused:
        object_path("s3://films/out") / name
    assert refused.value.code == "source_invalid"
