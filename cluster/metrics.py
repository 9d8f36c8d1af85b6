"""Metrics: each process counts for itself, and it is added up in the cache's Redis, for any replica to tell.

Workers and replicas come and go, and a scrape reaches one replica, so none of them is scraped. A thread of each process
sends what was added since the last time, and what its gauges show; nothing while nothing changes. Sums live as long as
the cache's Redis does: after that they begin at 0, which Prometheus takes for a restart. What a process has counted in
the last seconds before it is killed is lost with it. A gauge counts as long as its process tells it.
"""

import functools
import json
import logging
import math
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import redis
from prometheus_client import CollectorRegistry, Metric, disable_created_metrics
from prometheus_client.samples import Sample

from cluster.cache import AWAY, connect

disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()  # of all that is declared in this program, beside the code that counts it
PUSH_S = 5.0
_FORGET_S = 4 * PUSH_S  # a gauge whose process hasn't told it for so long: it is gone
_SUMS, _GAUGES = "mediaray:sums", "mediaray:gauges"
# One call: a connection that breaks in the middle adds all of it or nothing.
_ADD = "for i = 1, #ARGV, 2 do redis.call('HINCRBYFLOAT', KEYS[1], ARGV[i], ARGV[i + 1]) end"
_log = logging.getLogger("mediaray.metrics")

Series = tuple[str, tuple[tuple[str, str], ...]]


class Pusher:
    """Sends what this process has counted."""

    def __init__(self, cache_url: str, registry: CollectorRegistry = REGISTRY) -> None:
        self._url = cache_url
        self._registry = registry
        self._process = uuid.uuid4().hex
        self._connected: Any = None
        self._sent: dict[Series, float] = {}
        self._told = False

    def push(self) -> bool:
        """Send what was added since the last time; False: the cache is away, and the next time it is sent with more."""
        counted, shown = self._now()
        added = {series: value - self._sent.get(series, 0.0) for series, value in counted.items()}
        arguments = [part for series, value in added.items() if value for part in (_field(series), value)]
        try:
            if self._connected is None:
                self._connected = connect(self._url)
            if arguments:
                self._connected.eval(_ADD, 1, _SUMS, *arguments)
                self._sent |= counted
            if shown or self._told:
                told = {"at": time.time(), "values": {_field(series): value for series, value in shown.items()}}
                self._connected.hset(_GAUGES, self._process, json.dumps(told))
                self._told = bool(shown)
        except (*AWAY, redis.RedisError):
            return False
        return True

    def run(self) -> None:
        """Send again and again, for as long as the process lives, whatever fails."""
        before = "are sent again"
        while True:
            time.sleep(PUSH_S)
            error = None
            try:
                now = "are sent again" if self.push() else "wait until the cache is back"
            except Exception as raised:  # noqa: BLE001 of whatever is counted here: the rest is still to be told
                now, error = "can't be told", raised
            if now != before:
                _log.log(logging.ERROR if error else logging.INFO, "metrics %s", now, exc_info=error)
                before = now

    def _now(self) -> tuple[dict[Series, float], dict[Series, float]]:
        """What was counted, and what gauges show; NaN: it can't be told now.

        Those without labels only other than 0, which any process tells of them; but that a disk is full only its own.
        """
        counted: dict[Series, float] = {}
        shown: dict[Series, float] = {}
        for family in self._registry.collect():
            for sample in family.samples:
                if family.type != "gauge":
                    counted[_series(sample)] = sample.value
                elif (sample.value or sample.labels) and not math.isnan(sample.value):
                    shown[_series(sample)] = sample.value
        return counted, shown


@functools.cache
def push_to(cache_url: str) -> None:
    """Have this process send its metrics from now on."""
    threading.Thread(target=Pusher(cache_url).run, name="metrics", daemon=True).start()


def pushed(cache_url: str, registry: CollectorRegistry = REGISTRY) -> list[Metric] | None:
    """What all processes have counted and show, as far as it is declared in ``registry``; None: the cache is away."""
    try:
        with connect(cache_url) as client:
            values = {_read(field): float(value) for field, value in client.hgetall(_SUMS).items()}
            values |= _gauges(client)
    except (*AWAY, redis.RedisError):
        return None
    return [_family(declared, values) for declared in registry.collect()]


def _gauges(client: Any) -> Mapping[Series, float]:
    """Those of all processes that live, added up; what others have left is removed."""
    added: defaultdict[Series, float] = defaultdict(float)
    for process, text in client.hgetall(_GAUGES).items():
        told = json.loads(text)
        if time.time() - told["at"] > _FORGET_S:
            client.hdel(_GAUGES, process)
            continue
        for field, value in told["values"].items():
            added[_read(field)] += value
    return added


def _family(declared: Metric, values: Mapping[Series, float]) -> Metric:
    """A family with the values of all processes. Series that this process has, if only at 0, are there in any case."""
    family = Metric(declared.name, declared.documentation, declared.type)
    own = {_series(sample) for sample in declared.samples}
    names = {f"{declared.name}{suffix}" for suffix in ("", "_total", "_bucket", "_sum", "_count")}
    told = {series for series in values if series[0] in names}
    family.samples = [
        Sample(name, dict(labels), values.get((name, labels), 0.0)) for name, labels in _sorted(own | told)
    ]
    return family


def _sorted(series: Iterable[Series]) -> list[Series]:
    """Histograms' buckets in order of their bounds."""

    def place(one: Series) -> tuple[Any, ...]:
        name, labels = one
        others = tuple(label for label in labels if label[0] != "le")
        return others, name, float(dict(labels).get("le", "0"))

    return sorted(series, key=place)


def _series(sample: Sample) -> Series:
    return sample.name, tuple(sorted(sample.labels.items()))


def _field(series: Series) -> str:
    return json.dumps(series)


def _read(field: str) -> Series:
    name, labels = json.loads(field)
    return name, tuple((label, value) for label, value in labels)
