"""The interactive lane: one actor per node with warm children, which claims no CPU and answers at once."""

import contextlib
import os
import queue
from collections.abc import Collection, Iterator
from typing import Any

from cluster.cache import Cache
from cluster.child import BEHIND_THE_API_NICE, INTERACTIVE_NICE, ChildSpec, MediaChild, missing_in_sandboxes
from cluster.errors import ChildError, StorageError
from cluster.file_cache import FileCache
from cluster.grants import current_roots
from cluster.home import Home
from cluster.logs import keep_small, log_to
from cluster.machine import Machine, this_machine
from cluster.metrics import push_to
from cluster.node_facts import NodeFacts, node_facts
from cluster.node_metrics import watch_node
from cluster.tracing import trace_to
from pipelines.jobs.errors import BusyError, JobsError, job_error
from pipelines.jobs.models import JobError, Plan
from pipelines.jobs.orders import UnitOrder, UnitReport, WorkerConfig
from pipelines.jobs.scratch import clean_up, sweep_kept, sweep_scratch
from pipelines.jobs.served_media import MediaText, ServedMedia
from pipelines.jobs.served_pictures import WAIT_S, ServedPicture, ServedPictures
from pipelines.jobs.worker import CHILD_MODULE, child_folders, do_unit, heavy_child, plan_only
from pipelines.media.images.thumbnail_spec import ThumbnailSpec

CONCURRENCY = 64  # calls that may wait for a child; the children themselves are `interactive_slots`
RUNNERS = "runner-"  # what their names begin with
CONTROL = "control"  # the concurrency group of calls that need no child
LOOK = "look"  # that of the call that tells whether it answers at all
_AHEAD = ("pipelines.media.probing.probe", "pipelines.media.images.thumbnails")


class Runner:
    """Rules of the lane, without Ray: a pool of warm children, taken in turn."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._children: queue.LifoQueue[MediaChild] = queue.LifoQueue()  # the warmest first
        for _ in range(config.settings.interactive_slots):
            self._children.put(self._fresh())
        cache = Cache(config.cache_url)
        files = FileCache(Home(config.settings.home).pictures, config.settings.pictures_bytes)
        self._media = ServedMedia(cache, self._child_soon)
        self._pictures = ServedPictures(files, cache, self._child_soon, self._slow_child)

    def _fresh(self) -> MediaChild:
        settings = self._config.settings
        folders = child_folders(settings)
        return MediaChild(ChildSpec(CHILD_MODULE, INTERACTIVE_NICE, settings.child_memory_bytes, _AHEAD, folders))

    @contextlib.contextmanager
    def _child(self, wait_s: float | None = None) -> Iterator[MediaChild]:
        """A warm one, as soon as one is free. Raises BusyError where none is for so long."""
        try:
            child = self._children.get(timeout=wait_s)
        except queue.Empty:
            raise BusyError from None
        try:
            yield child
        finally:
            if child.killed:
                child.close()
                child = self._fresh()
            self._children.put(child)

    def _child_soon(self) -> contextlib.AbstractContextManager[MediaChild]:
        return self._child(WAIT_S)

    @contextlib.contextmanager
    def _slow_child(self) -> Iterator[MediaChild]:
        """One for something large, beside the warm ones and behind all other work."""
        child = MediaChild(heavy_child(self._config.settings))
        try:
            yield child
        finally:
            child.close()

    def warm(self) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(self._config.settings.interactive_slots):
                stack.enter_context(self._child()).warm()

    def run(self, order: UnitOrder) -> UnitReport:
        return do_unit(self._config, order, self._child)

    def plan(self, module: str, sources: tuple[str, ...], params: dict[str, Any]) -> Plan | JobError:
        try:
            with self._child_soon() as child:
                return plan_only(self._config, module, sources, params, child)
        except (ChildError, StorageError, JobsError) as error:
            return job_error(error, "plan")

    def media(self, source: str) -> MediaText | JobError:
        """Technical metadata of a source, from the cache or read now."""
        try:
            return self._media.get(source, current_roots(self._config.settings))
        except (BusyError, ChildError, StorageError) as error:
            return job_error(error, "probe")

    def picture(self, source: str, spec: ThumbnailSpec) -> ServedPicture | JobError:
        """A rendition for a page, from the cache or made now."""
        try:
            return self._pictures.get(source, spec, current_roots(self._config.settings))
        except (BusyError, ChildError, StorageError, OSError) as error:
            return job_error(error, "picture")

    def forget(self, tags: Collection[str]) -> None:
        """Remove the pictures with one of these tags of the cache."""
        self._pictures.forget(tags)

    def clean_up(self, job_id: str, targets: list[str], keys: list[str], artifacts: bool) -> None:
        clean_up(self._config.settings, job_id, targets, keys, artifacts=artifacts)

    def answer(self) -> None:
        """Returns: it isn't stopped."""

    def machine(self) -> Machine:
        """What this node's machine has."""
        return this_machine()

    def end_worker_of(self, lease_name: str) -> bool:
        """End the process that does a unit on this node, however stuck it is."""
        return Home(self._config.settings.home).end_worker_of(lease_name)

    def node_facts(self) -> NodeFacts:
        return node_facts(self._config.settings.home, self.lacks())

    def lacks(self) -> set[str]:
        """What media processes of this node lack of their sandbox."""
        return missing_in_sandboxes()

    def sweep(self, active: set[str]) -> None:
        sweep_scratch(self._config.settings, active)

    def sweep_kept(self) -> None:
        sweep_kept(self._config.settings)


class RunnerActor(Runner):
    """A lane in a process of its own, which tells of its node."""

    def __init__(self, config: WorkerConfig) -> None:
        os.nice(BEHIND_THE_API_NICE)
        super().__init__(config)
        log = Home(config.settings.home).log
        log_to(log, config.settings.log_format)
        keep_small(log)
        push_to(config.cache_url)
        trace_to(config.settings.otlp_endpoint, "runner")
        watch_node(config.settings.home)


def runner_name(node_id: str) -> str:
    return f"{RUNNERS}{node_id[:12]}"
