import os
import time

import pytest
from unit.edits import edit_unseen

from cluster import identity as identity_module
from cluster.identity import SAMPLE_BYTES, Identity, identify, is_other, listed_stamp_of, stamp_of

HOUR_AGO_S = time.time() - 3600


def identity(path, at_s: float = HOUR_AGO_S) -> Identity:
    os.utime(path, (at_s, at_s))
    with path.open("rb") as file:
        return identify(file.fileno())


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 8192)  # 2 MiB
    return path


def test_the_same_content_and_time_is_the_same_under_any_name(file, tmp_path):
    copy = tmp_path / "copy"
    copy.write_bytes(file.read_bytes())
    assert identity(copy) == identity(file)


def test_a_touched_file_is_another(file):
    assert identity(file, HOUR_AGO_S).digest != identity(file, HOUR_AGO_S + 1).digest


@pytest.mark.parametrize("offset", [0, (2 << 20) - 1, SAMPLE_BYTES // 2])
def test_a_change_at_head_or_tail_is_seen_though_the_time_is_the_same(file, offset):
    before = identity(file)
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(b"\xee")
    assert identity(file).digest != before.digest


def test_a_byte_more_is_seen(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "b").write_bytes(b"\0")
    assert identity(tmp_path / "a").digest != identity(tmp_path / "b").digest


def test_a_file_changed_just_now_is_not_settled_whatever_its_mtime_was_set_to(file, monkeypatch):
    assert not identity(file, HOUR_AGO_S).settled
    monkeypatch.setattr(identity_module, "SETTLED_S", -1.0)
    assert identity(file).settled


def written(path) -> None:
    with path.open("r+b") as opened:
        opened.write(b"\xee")


def written_and_set_back(path) -> None:
    before = path.stat()
    written(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def linked(path) -> None:
    path.with_name("link").hardlink_to(path)


def written_and_linked(path) -> None:
    written(path)
    linked(path)


def linked_and_unlinked(path) -> None:
    linked(path)
    path.with_name("link").unlink()


def renamed(path) -> None:
    path.rename(path.with_name("other"))


def given_an_attribute(path) -> None:
    try:
        os.setxattr(path, "user.note", b"seen")
    except OSError as error:
        pytest.skip(f"no attributes here: {error.strerror}")


EDITS = {
    "nothing": (lambda _: None, False),
    "written": (written, True),
    "written and set back": (written_and_set_back, True),
    "linked": (linked, False),
    "other rights": (lambda path: path.chmod(0o600), False),
    "written and linked": (written_and_linked, True),
}


@pytest.mark.parametrize(("what", "other"), EDITS.values(), ids=EDITS)
def test_a_file_is_another_once_it_was_written_to_and_not_for_a_link(file, what, other):
    os.utime(file, (HOUR_AGO_S, HOUR_AGO_S))
    with file.open("rb") as opened:
        before = file.stat()
        what(file)
        assert is_other(opened.fileno(), before, None) == other


@pytest.mark.parametrize(
    ("what", "other"),
    [*EDITS.values(), (renamed, False), (linked_and_unlinked, False), (given_an_attribute, False)],
    ids=[*EDITS, "renamed", "linked and unlinked", "given an attribute"],
)
def test_the_content_tells_what_became_of_a_file_of_which_the_ctime_alone_moved(file, what, other):
    os.utime(file, (HOUR_AGO_S, HOUR_AGO_S))
    with file.open("rb") as opened:
        before, content = file.stat(), identify(opened.fileno())
        what(file)
        assert is_other(opened.fileno(), before, content) == other


def test_a_stamp_is_the_same_wherever_the_device_is_mounted(file):
    facts = file.stat()
    elsewhere = os.stat_result([*facts[:2], facts.st_dev + 1, *facts[3:]], {"st_mtime_ns": 5, "st_ctime_ns": 6})
    here = os.stat_result(facts[:], {"st_mtime_ns": 5, "st_ctime_ns": 6})
    assert stamp_of(here).digest == stamp_of(elsewhere).digest
    assert listed_stamp_of(here).digest != listed_stamp_of(elsewhere).digest


def test_the_stamp_tells_an_edit_that_content_and_times_don_t(file):
    os.utime(file, (HOUR_AGO_S, HOUR_AGO_S))
    before, stamped = identity(file), stamp_of(file.stat())
    edit_unseen(file)
    assert (identity(file).digest, stamp_of(file.stat()).digest == stamped.digest) == (before.digest, False)


def test_reading_leaves_the_position_where_it_was(file):
    with file.open("rb") as opened:
        opened.seek(5)
        identify(opened.fileno())
        assert opened.tell() == 5
