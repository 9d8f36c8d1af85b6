"""Names that every file system takes, and that stay apart where case doesn't count."""

import pytest

from pipelines.bulk.safe_names import apart, forms_of, safe_name, safe_path


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("film.mkv", "film.mkv"),
        ("Amélie (2001).mkv", "Amélie (2001).mkv"),
        ("Ame\u0301lie.mkv", "Am\u00e9lie.mkv"),
        ('a<b>c:d"e|f?g*h\\i.mkv', "a_b_c_d_e_f_g_h_i.mkv"),
        ("new\nline\x00\x7f", "new_line__"),
        ("trailing. . ", "trailing"),
        ("con", "con_"),
        ("NUL.txt", "NUL_.txt"),
        ("Lpt1.tar.gz", "Lpt1_.tar.gz"),
        ("com¹", "com¹_"),
        ("aux .txt", "aux_ .txt"),
        ("conin$", "conin$_"),
        ("console.log", "console.log"),
        ("COM10", "COM10"),
        ("..", "_"),
        (".", "_"),
        ("...", "_"),
        (" ", "_"),
        (".hidden", ".hidden"),
    ],
)
def test_names_are_safe_and_else_as_they_were(name, safe):
    assert safe_name(name) == safe
    assert safe_name(safe) == safe


@pytest.mark.parametrize("letter", ["x", "ж", "字", "🎬"])
def test_long_names_keep_their_extension_and_stay_apart(letter):
    one, other = safe_name(letter * 255 + "1.jpeg"), safe_name(letter * 255 + "2.jpeg")
    assert one != other
    assert one.endswith(".jpeg")
    assert len(one.encode()) <= 200
    assert one.startswith(letter * 40)


def test_what_is_no_extension_is_cut_too():
    assert len(safe_name("a." + "b" * 300).encode()) <= 200


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a/../../b", "..\\..\\b", "a//b"])
def test_no_path_leads_out(path):
    parts = safe_path(path).split("/")
    assert all(part not in ("", ".", "..") and "\\" not in part for part in parts)


def test_a_path_too_long_for_windows_is_shortened_and_stays_apart():
    deep = "/".join(["a folder with quite a long name"] * 12)
    one, other = safe_path(f"{deep}/one.jpg"), safe_path(f"{deep}/x/one.jpg")
    assert len(one) <= 240
    assert one != other
    assert one.endswith("one.jpg")


def test_names_that_differ_in_case_only_are_told_apart():
    found = apart(["A.jpg", "a.jpg", "b.jpg"], ["1", "2", "3"])
    assert len({path.casefold() for path in found}) == 3
    assert found[2] == "b.jpg"
    assert found[0].startswith("A-")
    assert found[0].endswith(".jpg")


def test_a_name_doesn_t_depend_on_the_order_of_the_others():
    assert apart(["A.jpg", "a.jpg"], ["1", "2"]) == apart(["a.jpg", "A.jpg"], ["2", "1"])[::-1]


def test_composed_and_decomposed_letters_are_the_same_name():
    assert len(set(apart(["\u00e9.jpg", "e\u0301.jpg"], ["1", "2"]))) == 2


def test_no_file_has_the_name_of_another_s_folder():
    found = apart(["A", "a/b.jpg"], ["1", "2"])
    assert found[0] != "A"
    assert found[1] == "a/b.jpg"


def test_names_that_are_taken_are_left_to_who_has_them():
    assert apart(["Catalogue.parquet"], ["1"], taken=("catalogue.parquet",)) != ["Catalogue.parquet"]


def test_a_name_that_a_file_has_stays_whatever_comes():
    first, second = apart(["a.jpg", "a.jpg"], ["1", "2"], kept={"1": "a.jpg"})
    assert first == "a.jpg"
    assert second in forms_of("a.jpg", "2")
    assert second != "a.jpg"


def test_a_name_that_was_told_apart_stays_so_beside_one_that_is_called_the_same():
    _, marked, _ = forms_of("a.jpg", "1")
    first, second = apart(["a.jpg", marked], ["1", "2"], kept={"1": marked})
    assert (first, second == marked) == (marked, False)


def test_all_names_that_may_be_made_of_a_path_are_its_forms():
    paths, keys = ["a.jpg", "A.jpg", "b"], ["1", "2", "3"]
    assert all(name in forms_of(path, key) for name, path, key in zip(apart(paths, keys), paths, keys, strict=True))
    (doubly,) = apart(["a.jpg"], ["1"], taken=("a.jpg", next(iter([*forms_of("a.jpg", "1")][1:]))))
    assert doubly in forms_of("a.jpg", "1")
