"""The interactive lane without Ray."""

import contextlib
from typing import Any

import pytest

from pipelines.jobs import runner as runner_module
from pipelines.jobs.models import JobError
from pipelines.jobs.orders import WorkerConfig
from pipelines.jobs.runner import Runner
from pipelines.media.images.thumbnail_spec import ThumbnailSpec


@pytest.fixture
def runner(settings, redis_url):
    return Runner(WorkerConfig(settings.model_copy(update={"interactive_slots": 1}), redis_url, redis_url))


@pytest.mark.parametrize(
    "ask",
    [
        lambda runner, source: runner.media(source),
        lambda runner, source: runner.picture(source, ThumbnailSpec(sizes=("32",))),
        lambda runner, source: runner.plan("pipelines.jobs.operations.probe", (source,), {}),
    ],
    ids=["media", "picture", "plan"],
)
def test_whoever_waits_too_long_for_a_child_is_told_so(runner, films, monkeypatch, ask):
    monkeypatch.setattr(runner_module, "WAIT_S", 0.01)
    with contextlib.ExitStack() as busy:
        busy.enter_context(runner._child())
        answer: Any = ask(runner, str(films / "film.mkv"))
    assert isinstance(answer, JobError)
    assert answer.code == "busy"
