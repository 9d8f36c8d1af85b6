"""Holds the home of a server that a cluster runs, so that nobody restores a backup under it."""

import contextlib
import time
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle

from cluster.errors import StartupError
from cluster.home import Home
from pipelines.jobs.orders import NAMESPACE, ON_HEAD

_NAME = "home"
_AGAIN_S = 1.0
_LIMIT_S = 150.0  # a file system that is shared keeps locks of a machine that is gone for up to 90 s


class HomeHolder:
    """Holds a home for as long as its process lives, by which commands find the server; waits while another does."""

    def __init__(self, path: Path, url: str) -> None:
        self._held = contextlib.ExitStack()
        home = Home(path)
        while not self._holds(home):
            time.sleep(_AGAIN_S)
        home.announce(url=url, run_by="serve")

    def _holds(self, home: Home) -> bool:
        try:
            self._held.enter_context(home.hold())
        except (StartupError, OSError):  # the volume may be late or stale; and a holder that fails isn't started again
            return False
        return True

    def ready(self) -> None:
        """Returns when it is held."""


_holder_actor: Any = ray.remote(HomeHolder)


def hold(home: Home, url: str, limit_s: float = _LIMIT_S) -> ActorHandle[Any]:
    """Hold a home until the cluster ends, or find the actor that does. ``url`` is where the head reaches the server.

    Raises:
        StartupError: another holds it, or it can't be written, for longer than ``limit_s``; its holder went away; or a
            restore into it was broken off.
    """
    holder: ActorHandle[Any] = _holder_actor.options(
        name=_NAME,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,
        resources=ON_HEAD,
        max_restarts=-1,
    ).remote(home.path, url)
    try:
        ray.get(holder.ready.remote(), timeout=limit_s)
        home.refuse_half_restored()
    except ray.exceptions.GetTimeoutError:
        ray.kill(holder)
        raise StartupError(
            f"{home.path} is held by another server or by a restore, or can't be written on Ray's head. "
            "Wait, or stop that one."
        ) from None
    except ray.exceptions.RayError as error:  # left alone: where it comes back, it may be that of a server that runs
        raise StartupError(f"What holds {home.path} went away ({type(error).__name__}). Try again.") from error
    except StartupError:
        ray.kill(holder)  # or the restore couldn't be done again
        raise
    return holder


def holds() -> bool:
    """Whether this cluster holds a home: it has a server that Serve runs, without a driver."""
    try:
        ray.get_actor(_NAME, namespace=NAMESPACE)
    except ValueError:
        return False
    return True
