"""Side-cars: what NFO, JSON and tables tell, and that hostile ones do no harm."""

import json
from pathlib import Path

import pytest

from pipelines.media.collecting.sidecars import read_sidecar
from pipelines.media.errors import LimitError, SourceEmptyError, SourceUnsupportedError

NFO = """<?xml version="1.0" encoding="UTF-8"?>
<movie>
  <title>Big Buck Bunny</title><year>2008</year>
  <genre>Animation</genre><genre>Comedy</genre>
  <uniqueid type="imdb" default="true">tt1254207</uniqueid>
  <actor><name>Bunny</name><role>himself</role></actor><actor><name>Frank</name></actor>
  <set><name>Open movies</name></set>
  <fileinfo><streamdetails><video><codec>h264</codec></video></streamdetails></fileinfo>
  <plot> A rabbit. </plot><tagline/>
</movie>
https://www.imdb.com/title/tt1254207/
"""
BOMB = """<?xml version="1.0"?><!DOCTYPE movie [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><movie><title>&c;</title></movie>"""
OUTSIDE = """<?xml version="1.0"?><!DOCTYPE movie [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<movie><title>&x;</title></movie>"""


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def fields(path: Path, *wanted: str) -> dict:
    return read_sidecar(path, wanted).fields


def test_an_nfo_tells_its_fields_people_and_ids_and_a_link_may_follow(tmp_path):
    assert fields(written(tmp_path, "film.nfo", NFO)) == {
        "": {
            "title": "Big Buck Bunny",
            "year": "2008",
            "genre": ("Animation", "Comedy"),
            "uniqueid.imdb": "tt1254207",
            "actor": ("Bunny", "Frank"),
            "set": "Open movies",
            "plot": "A rabbit.",
        }
    }


@pytest.mark.parametrize("text", [BOMB, OUTSIDE, '<!DOCTYPE movie SYSTEM "http://localhost/x.dtd"><movie/>'])
def test_an_nfo_with_entities_or_a_document_type_is_refused(tmp_path, text):
    with pytest.raises(SourceUnsupportedError, match="entities or a document type"):
        read_sidecar(written(tmp_path, "film.nfo", text))


@pytest.mark.parametrize("text", ["no XML", "<movie><title>", "<movie></film>", b"\xff\xfe<\0m\0", "\0\0"])
def test_an_nfo_that_is_no_xml_is_told(tmp_path, text):
    with pytest.raises(SourceUnsupportedError, match="isn't XML"):
        read_sidecar(written(tmp_path, "film.nfo", text))


def test_an_nfo_whose_elements_go_deep_is_read(tmp_path):
    deep = "<a>" * 20_000 + "</a>" * 20_000
    assert fields(written(tmp_path, "film.nfo", f"<movie><title>x</title>{deep}</movie>")) == {"": {"title": "x"}}


def test_json_tells_its_fields_objects_in_it_by_names_with_dots(tmp_path):
    told = {
        "Title": "Beach",
        "rating": 4.5,
        "favourite": True,
        "people": ["Ann", "Bob", "Ann"],
        "photoTakenTime": {"timestamp": "1700000000"},
        "nothing": None,
        "empty": "  ",
        "half": "a\ud800b",
    }
    assert fields(written(tmp_path, "beach.json", json.dumps(told))) == {
        "": {
            "title": "Beach",
            "rating": "4.5",
            "favourite": "true",
            "people": ("Ann", "Bob"),
            "phototakentime.timestamp": "1700000000",
            "half": "a?b",
        }
    }


@pytest.mark.parametrize("text", ["{", "[1]", '"text"', "[" * 100_000, b"\xff\xff"])
def test_json_without_an_object_is_told(tmp_path, text):
    with pytest.raises(SourceUnsupportedError, match="JSON"):
        read_sidecar(written(tmp_path, "beach.json", text))


def test_a_table_tells_of_the_files_that_are_wanted(tmp_path):
    table = "\ufeffPath;Title;Year\n./a/film.mkv;Film;1999\nother.mkv;Other;2000\nshort.mkv\n"
    path = written(tmp_path, "metadata.csv", table)
    assert fields(path, "a/film.mkv", "short.mkv", "none.mkv") == {
        "a/film.mkv": {"title": "Film", "year": "1999"},
        "short.mkv": {},
    }


def test_a_table_without_the_column_path_is_told_with_those_it_has(tmp_path):
    with pytest.raises(SourceUnsupportedError, match="no column path; its columns are: file, title"):
        read_sidecar(written(tmp_path, "metadata.csv", "file,title\na,b\n"))


def test_a_table_that_is_no_text_is_told(tmp_path):
    with pytest.raises(SourceUnsupportedError, match="UTF-8"):
        read_sidecar(written(tmp_path, "metadata.csv", b"path,title\ncaf\xe9,x\n"))


def test_a_table_with_a_cell_that_is_too_long_is_told(tmp_path):
    with pytest.raises(SourceUnsupportedError, match="line 2"):
        read_sidecar(written(tmp_path, "metadata.csv", f"path,title\na,{'x' * 200_000}\n"))


def test_of_too_much_only_some_is_kept(tmp_path):
    told = {f"field-{number}": "x" * 20_000 for number in range(150)} | {"many": [str(each) for each in range(1000)]}
    kept = fields(written(tmp_path, "big.json", json.dumps(told)))[""]
    assert len(kept["field-0"]) == 10_000
    assert len(kept["many"]) == 200


def test_one_that_is_too_large_is_refused(tmp_path):
    with pytest.raises(LimitError, match="4 MiB"):
        read_sidecar(written(tmp_path, "film.nfo", b" " * ((4 << 20) + 1)))


def test_an_empty_one_is_told(tmp_path):
    with pytest.raises(SourceEmptyError):
        read_sidecar(written(tmp_path, "film.nfo", b""))


def test_another_file_is_no_side_car(tmp_path):
    with pytest.raises(SourceUnsupportedError, match="no side-car"):
        read_sidecar(written(tmp_path, "film.txt", "title"))
