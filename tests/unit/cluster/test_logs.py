import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.logs import MOST_BYTES, about, begin_anew, forget_left, log_to

LOG = logging.getLogger("mediaray.test")


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    ours = logging.getLogger("mediaray")
    handlers, level = list(ours.handlers), ours.level
    yield
    for handler in set(ours.handlers) - set(handlers):
        ours.removeHandler(handler)
        handler.close()
    ours.setLevel(level)
    log_to.cache_clear()


@pytest.fixture
def lines(tmp_path: Path) -> Callable[[], list[dict[str, str]]]:
    """What was written, of a process that writes JSON."""
    log_to(tmp_path / "log", "json")
    return lambda: [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]


def test_a_line_is_an_object_with_its_time_and_its_place(lines):
    LOG.warning("%d of %d", 1, 2)
    (line,) = lines()
    assert (line["level"], line["logger"], line["message"]) == ("warning", "mediaray.test", "1 of 2")
    assert line["at"].endswith("Z")


def test_a_line_tells_the_job_and_the_unit_that_it_is_of(lines):
    with about(job="j", unit="chunk-7", operation="transcode"):
        LOG.info("here")
    LOG.info("elsewhere")
    within, without = lines()
    assert (within["job"], within["unit"], within["operation"]) == ("j", "chunk-7", "transcode")
    assert "job" not in without


def test_what_is_given_with_a_line_counts_before_what_it_is_within(lines):
    with about(job="outer", unit="a"):
        LOG.info("here", extra={"job": "inner", "code": "disk_full"})
    (line,) = lines()
    assert (line["job"], line["unit"], line["code"]) == ("inner", "a", "disk_full")


def test_threads_don_t_take_each_other_s_job(lines):
    with about(job="mine"):
        other = threading.Thread(target=lambda: LOG.info("other"))
        other.start()
        other.join()
    assert "job" not in lines()[0]


def test_an_error_is_one_line_with_its_traceback(lines):
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        LOG.exception("that\nfailed")
    (line,) = lines()
    assert line["message"] == "that\nfailed"
    assert "ZeroDivisionError" in line["error"]


def test_text_has_the_job_at_its_end(tmp_path):
    log_to(tmp_path / "log", "text")
    with about(job="j", unit="a"):
        LOG.warning("it failed")
    assert (tmp_path / "log").read_text().endswith("WARNING mediaray.test it failed [job=j unit=a]\n")


def test_a_process_that_is_told_twice_writes_once(tmp_path):
    for _ in range(2):
        log_to(tmp_path / "log", "text")
    LOG.warning("once")
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_a_file_that_is_long_is_begun_anew_and_its_writers_follow(tmp_path):
    log_to(tmp_path / "log", "text")
    LOG.warning("x" * MOST_BYTES)
    begin_anew(tmp_path / "log")
    LOG.warning("next")
    begin_anew(tmp_path / "log")
    assert (tmp_path / "log").read_text().endswith("next\n")
    assert (tmp_path / "log.1").stat().st_size > MOST_BYTES
    assert not (tmp_path / "log.2").exists()


def test_the_last_three_stay(tmp_path):
    for number in range(5):
        (tmp_path / "log").write_bytes(b"%d" % number * (MOST_BYTES + 1))
        begin_anew(tmp_path / "log")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.1", "log.2", "log.3"]
    assert [(tmp_path / f"log.{number}").read_bytes()[:1] for number in (1, 2, 3)] == [b"4", b"3", b"2"]


def test_what_a_node_left_long_ago_goes(tmp_path):
    for name in ("node-old.log", "node-old.log.1", "node-new.log", "up.log"):
        (tmp_path / name).touch()
        if name != "node-new.log":
            os.utime(tmp_path / name, (0, 0))
    forget_left(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"node-new.log", "up.log"}
