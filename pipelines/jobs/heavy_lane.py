"""The heavy lane: Ray tasks that claim CPUs, each worker process with a warm child of its own."""

import contextlib

from cluster.child import MediaChild
from cluster.home import Home
from cluster.logs import log_to
from cluster.metrics import push_to
from cluster.tracing import trace_to
from pipelines.jobs.orders import UnitOrder, UnitReport, WorkerConfig
from pipelines.jobs.worker import do_unit, heavy_child

_heavy_child: MediaChild | None = None


def run_heavy(config: WorkerConfig, order: UnitOrder) -> UnitReport:
    """Do a heavy unit in this worker process's own warm child."""
    global _heavy_child
    _tell(config)
    if _heavy_child is None:
        _heavy_child = MediaChild(heavy_child(config.settings))
    child = _heavy_child
    report = do_unit(config, order, lambda: contextlib.nullcontext(child))
    if _heavy_child.killed:
        _heavy_child.close()
        _heavy_child = None
    return report


def _tell(config: WorkerConfig) -> None:
    """Have this process tell what it does, from its first unit on."""
    log_to(Home(config.settings.home).log, config.settings.log_format)
    push_to(config.cache_url)
    trace_to(config.settings.otlp_endpoint, "worker")


def warm_heavy(config: WorkerConfig) -> None:
    """Start this worker process's child, so that its first unit doesn't wait for it."""
    global _heavy_child
    _tell(config)
    if _heavy_child is None:
        _heavy_child = MediaChild(heavy_child(config.settings))
    _heavy_child.warm()
