import tempfile
import time
from collections.abc import Iterator

import pytest
import ray

from cluster.child import ChildSpec, MediaChild


@pytest.fixture(autouse=True)
def _no_ray_and_no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a unit test starts no Ray and doesn't sleep")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(time, "sleep", refuse)


@pytest.fixture(scope="module")
def child() -> Iterator[MediaChild]:
    folders = (tempfile.gettempdir(),)
    child = MediaChild(ChildSpec("pipelines.media.child", nice=5, memory_bytes=4 << 30, folders=folders))
    yield child
    child.close()
