import os
import time

import pytest

from cluster.identity import SAMPLE_BYTES, Identity, identify

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


@pytest.mark.parametrize(("age_s", "settled"), [(3600, True), (3, True), (0, False), (-60, False)])
def test_a_file_changed_just_now_is_not_settled(file, age_s, settled):
    assert identity(file, time.time() - age_s).settled == settled


def test_reading_leaves_the_position_where_it_was(file):
    with file.open("rb") as opened:
        opened.seek(5)
        identify(opened.fileno())
        assert opened.tell() == 5
