"""The cluster's actors as a replica of the edge sees them."""

from collections.abc import Collection
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError

from pipelines.jobs.board import Event
from pipelines.jobs.live import EventChannel
from pipelines.jobs.models import JobError, Plan
from pipelines.jobs.orders import NAMESPACE, REGISTRY
from pipelines.jobs.runner import CONTROL, RUNNERS, runner_name
from pipelines.jobs.served_media import MediaText
from pipelines.jobs.served_pictures import ServedPicture
from pipelines.media.images.thumbnail_spec import ThumbnailSpec

_ASK_S = 2.0  # how often a silent registry is asked whether it's there


class LiveRegistry:
    """The registry as a replica sees it: it hears what is announced, and asks the actor for what it missed."""

    def __init__(self, cache_url: str) -> None:
        self._events = EventChannel(cache_url)
        self._actor: ActorHandle[Any] | None = None

    async def follow(self, epoch: int, cursor: int) -> tuple[int, int, list[Event] | None]:
        batch = await self._events.next(_ASK_S)
        fresh = batch.beyond(epoch, cursor) if batch else None
        if batch is not None and fresh is not None:
            return epoch, batch.cursor, fresh
        found: tuple[int, int, list[Event] | None] = await self._ask("after", epoch, cursor)
        return found

    async def attach(self, job_id: str, epoch: int, seq: int) -> list[Event] | None:
        found: list[Event] | None = await self._ask("attach", job_id, epoch, seq)
        return found

    async def close(self) -> None:
        await self._events.close()

    async def _ask(self, method: str, *arguments: Any) -> Any:
        if self._actor is None:  # to look it up takes a millisecond of every socket
            self._actor = actor(REGISTRY)
        try:
            return await getattr(self._actor, method).remote(*arguments)
        except RayActorError:
            self._actor = None  # another has its name, or will
            raise


class RayInteractiveLane:
    """The runner actor of this replica's node; where that has none, of another."""

    async def plan(self, module: str, sources: tuple[str, ...], params: dict[str, Any]) -> Plan | JobError:
        found: Plan | JobError = await self._runner().plan.remote(module, sources, params)
        return found

    async def media(self, source: str) -> MediaText | JobError:
        found: MediaText | JobError = await self._runner().media.remote(source)
        return found

    async def picture(self, source: str, spec: ThumbnailSpec) -> ServedPicture | JobError:
        found: ServedPicture | JobError = await self._runner().picture.remote(source, spec)
        return found

    async def forget(self, tags: Collection[str]) -> None:
        await self._runner().forget.options(concurrency_group=CONTROL).remote(tags)

    async def clean_up(self, job_id: str) -> None:
        await self._runner().clean_up.options(concurrency_group=CONTROL).remote(job_id, [], [], True)

    def _runner(self) -> ActorHandle[Any]:
        own = runner_name(ray.get_runtime_context().get_node_id())
        try:
            return actor(own)
        except ValueError:  # a head without CPUs has one only while no other node is there
            named = ray.util.list_named_actors(all_namespaces=True)
            others = [each["name"] for each in named if each["namespace"] == NAMESPACE]
            return actor(next((name for name in others if name.startswith(RUNNERS)), own))


def actor(name: str) -> ActorHandle[Any]:
    return ray.get_actor(name, namespace=NAMESPACE)
