import json
from pathlib import Path

import pytest
import typer

from cluster.home import Home
from cluster.settings import Settings
from serve.cli.session import Place
from serve.cli.targets import Target, granted, split_by_name, targets


@pytest.fixture
def films(tmp_path: Path, monkeypatch) -> Path:
    for name in ("a.mkv", "b.mkv", "other/a.mkv"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_paths_become_absolute(films):
    assert targets(["a.mkv"], "out.mp4", "file") == [Target((f"{films}/a.mkv",), f"{films}/out.mp4")]


def test_a_uri_stays_as_it_is(films):
    assert targets(["s3://films/a.mkv"], None, "file") == [Target(("s3://films/a.mkv",), None)]


def test_a_missing_source_is_named(films):
    with pytest.raises(typer.BadParameter, match=r"no file c\.mkv"):
        targets(["c.mkv"], None, "file")


def test_an_existing_folder_as_output_ends_in_a_slash(films):
    assert targets(["a.mkv"], "other", "file")[0].output == f"{films}/other/"


def test_several_sources_share_a_folder(films):
    assert [each.output for each in targets(["a.mkv", "b.mkv"], "out/", "file")] == [f"{films}/out/"] * 2


def test_several_sources_need_a_folder(films):
    with pytest.raises(typer.BadParameter, match="need a folder"):
        targets(["a.mkv", "b.mkv"], "out.mp4", "file")


def test_folders_of_several_sources_are_apart(films):
    chosen = targets(["a.mkv", "b.mkv"], "out", "folder")
    assert [each.output for each in chosen] == [f"{films}/out/a", f"{films}/out/b"]


def test_one_result_of_many_sources_is_a_file_of_the_name_given(films):
    assert targets(["a.mkv", "b.mkv"], "plan.json", "file", many=True)[0].output == f"{films}/plan.json"


@pytest.mark.parametrize(("output", "kind"), [("other", "file"), ("new/", "file"), ("new", "folder")])
def test_many_sources_fill_a_folder(films, output, kind):
    (target,) = targets(["a.mkv", "b.mkv"], output, kind, many=True)
    assert target.output == f"{films}/{output.rstrip('/')}/"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_two_results_never_share_a_name(films, kind):
    first, *rest = chosen = targets(["a.mkv", "other/a.mkv", "b.mkv", "a.mkv"], "out/", kind)
    assert split_by_name(chosen) == ([first, rest[1]], [rest[0], rest[2]])


def test_results_that_are_kept_with_their_jobs_never_clash(films):
    chosen = targets(["a.mkv", "other/a.mkv"], None, "file")
    assert split_by_name(chosen) == (chosen, [])


def test_grants_cover_sources_links_and_outputs(films, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "real.mkv").touch()
    (films / "link.mkv").symlink_to(elsewhere / "real.mkv")
    place = Place(Settings(home=tmp_path / "home"), Home.create(tmp_path / "home"))
    with granted(place, targets(["link.mkv"], "made/out.mp4", "file")):
        pass
    assert json.loads((place.home.path / "grants.json").read_text()) == {
        "read": sorted([str(films), str(elsewhere), f"{films}/made"]),
        "write": [f"{films}/made"],
    }


def test_files_that_parameters_name_can_be_read(films, tmp_path):
    place = Place(Settings(home=tmp_path / "home"), Home.create(tmp_path / "home"))
    with granted(place, targets(["a.mkv"], None, "file"), [f"{films}/other/b.parquet"]):
        pass
    assert json.loads((place.home.path / "grants.json").read_text())["read"] == [str(films), f"{films}/other"]


def test_folders_that_parameters_name_can_be_written(films, tmp_path):
    place = Place(Settings(home=tmp_path / "home"), Home.create(tmp_path / "home"))
    with granted(place, targets(["collection:all"], None, "none"), [f"{films}/other"], [f"{films}/other"]):
        pass
    assert json.loads((place.home.path / "grants.json").read_text()) == {
        "read": [f"{films}/other"],
        "write": [f"{films}/other"],
    }


def test_configured_roots_are_not_widened(films, tmp_path):
    settings = Settings(home=tmp_path / "home", roots=("/films",), output_roots=("/films",))
    place = Place(settings, Home.create(settings.home))
    with granted(place, targets(["a.mkv"], None, "file")):
        pass
    assert not (place.home.path / "grants.json").exists()


def test_a_refused_command_grants_nothing_new(films, tmp_path):
    place = Place(Settings(home=tmp_path / "home"), Home.create(tmp_path / "home"))
    with granted(place, targets(["a.mkv"], None, "file")):
        pass
    with pytest.raises(ConnectionError), granted(place, targets(["a.mkv", "other/a.mkv"], None, "none")):
        raise ConnectionError
    assert json.loads((place.home.path / "grants.json").read_text()) == {"read": [str(films)], "write": []}


def test_a_folder_grants_itself_and_not_what_is_around_it(films, tmp_path):
    place = Place(Settings(home=tmp_path / "home"), Home.create(tmp_path / "home"))
    with granted(place, targets(["."], None, "none")):
        pass
    assert json.loads((place.home.path / "grants.json").read_text())["read"] == [str(films)]


def test_a_name_that_is_not_utf_8_is_told():
    with pytest.raises(typer.BadParameter, match="isn't UTF-8"):
        targets(["bad\udcff.mkv"], None, "none")


@pytest.mark.parametrize(("sources", "output"), [([""], None), ([" "], None), (["a.mkv"], "")])
def test_what_has_no_name_is_refused(films, sources, output):
    with pytest.raises(typer.BadParameter, match="no name"):
        targets(sources, output, "folder", many=True)
