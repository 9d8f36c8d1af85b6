"""Actors that are found on a cluster: whether they are what would be started, and answer."""

import asyncio
import os
import signal

import pytest
import ray

from pipelines.jobs.actors import as_started, named_actors, wait_ready
from pipelines.jobs.orders import DISPATCHER, REGISTRY


class _NeverReady:
    async def ready(self) -> None:
        await asyncio.Event().wait()


def test_actors_are_known_again_by_all_that_they_were_started_with(cluster):
    assert as_started(cluster.config, "1")
    assert not as_started(cluster.config, "2")


def test_an_actor_that_does_not_answer_is_not_taken_over(cluster):
    pid = cluster.actor_pid("DispatcherActor")
    os.kill(pid, signal.SIGSTOP)
    try:
        assert not as_started(cluster.config, "1", limit_s=0.5)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert as_started(cluster.config, "1")


def test_a_dispatcher_that_was_told_to_drain_is_not_taken_over(cluster):
    ray.get(cluster.dispatcher.drain.remote(0.0))
    try:
        assert not as_started(cluster.config, "1")
    finally:
        ray.kill(cluster.dispatcher, no_restart=False)
    cluster.until(lambda: as_started(cluster.config, "1"))
    wait_ready(cluster.dispatcher)


def test_the_dispatcher_is_the_first_to_be_ended_for_it_starts_runners(cluster):
    first, *others = named_actors()
    assert first == DISPATCHER
    assert REGISTRY in others
    assert any(name.startswith("runner-") for name in others)


def test_a_start_does_not_wait_for_ever_for_what_never_gets_ready(cluster):
    never = ray.remote(_NeverReady).options(num_cpus=0).remote()
    with pytest.raises(ray.exceptions.GetTimeoutError):
        wait_ready(cluster.registry, never, limit_s=0.5)
    ray.kill(never)
