"""The heavy lane: Ray tasks that claim CPUs, each worker process with a warm child of its own."""

import contextlib

from cluster.child import MediaChild
from cluster.home import Home
from cluster.logs import log_to
from cluster.metrics import push_to
from cluster.tracing import trace_to
from pipelines.jobs.orders import UnitOrder, UnitReport, WorkerConfig
from pipelines.jobs.worker import do_unit, heavy_child
from pipelines.jobs.worker_clients import operation_of

_children: dict[bool, MediaChild] = {}  # by whether they may run programs


def run_heavy(config: WorkerConfig, order: UnitOrder) -> UnitReport:
    """Do a heavy unit in this worker process's own warm child."""
    _tell(config)
    runs_programs = operation_of(order.module).runs_programs
    child = _child(config, runs_programs=runs_programs)
    report = do_unit(config, order, lambda: contextlib.nullcontext(child))
    if child.killed:
        child.close()
        del _children[runs_programs]
    return report


def _child(config: WorkerConfig, *, runs_programs: bool) -> MediaChild:
    if runs_programs not in _children:
        _children[runs_programs] = MediaChild(heavy_child(config.settings, runs_programs=runs_programs))
    return _children[runs_programs]


def _tell(config: WorkerConfig) -> None:
    """Have this process tell what it does, from its first unit on."""
    log_to(Home(config.settings.home).log, config.settings.log_format)
    push_to(config.cache_url)
    trace_to(config.settings.otlp_endpoint, "worker")


def warm_heavy(config: WorkerConfig) -> None:
    """Start this worker process's child, so that its first unit doesn't wait for it."""
    _tell(config)
    _child(config, runs_programs=False).warm()
