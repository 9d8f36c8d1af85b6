"""Names of what is made of a collection's files: no two the same, and none changes hands."""

from collections.abc import Iterable

from pipelines.bulk.naming import stable_names


def named(*paths: str, root: str = "/lib") -> dict[str, str]:
    return names_of((f"{root}/{path}", path, f"{root}/{path}") for path in paths)


def names_of(files: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    return stable_names([{"uri": uri, "path": path, "identity": identity} for uri, path, identity in files])


def test_a_file_alone_keeps_its_place_and_stem():
    assert named("2019/beach.jpg", "2020/beach.jpg") == {
        "/lib/2019/beach.jpg": "2019/beach",
        "/lib/2020/beach.jpg": "2020/beach",
    }


def test_files_of_one_stem_are_told_apart_by_their_extensions_whatever_the_case():
    assert [*named("beach.jpg", "Beach.png").values()] == ["beach-jpg", "Beach-png"]


def test_files_of_one_path_in_two_folders_are_told_apart():
    names = names_of((f"{root}/a.jpg", "a.jpg", root) for root in ("/one", "/other"))
    assert len({name.casefold() for name in names.values()}) == 2


def test_names_that_differ_in_case_alone_are_told_apart():
    assert len({name.casefold() for name in named("a.jpg", "A.JPG", "A.jpg").values()}) == 3


def test_a_stem_that_looks_like_another_s_longer_name_gets_none_of_it():
    names = named("beach.jpg", "beach.png", "beach-png.jpg")
    assert len({*names.values()}) == 3
    assert names["/lib/beach-png.jpg"] != "beach-png"


def test_one_that_comes_later_has_no_name_that_another_had_before():
    files = ["a.jpg", "a.png", "A.jpg", "a-jpg.gif", "a-png.jpg", "sub/a.jpg", "a.jpg.gif"]
    had: dict[str, str] = {}
    for count in range(1, len(files) + 1):
        for uri, name in named(*files[:count]).items():
            assert had.setdefault(name.casefold(), uri) == uri


def test_copies_don_t_part_each_other():
    names = names_of((f"{root}/a.jpg", "a.jpg", "the same") for root in ("/one", "/other"))
    assert [*names.values()] == ["a", "a"]
