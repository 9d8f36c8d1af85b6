"""Keeping a unit's lease while it is done, and ending its child when it is taken away."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

import redis

from cluster.child import MediaChild
from pipelines.jobs.errors import UnitDroppedError
from pipelines.jobs.orders import UnitOrder
from pipelines.jobs.unit_store import UnitStore

_LOOK_S = 0.4  # how often it looks whether the unit was taken away: a cancel is done in under 2 s
_log = logging.getLogger("mediaray.minder")


class Minder:
    """Keeps the lease of one unit after the other while it is done; ends the child when a lease is lost."""

    def __init__(self, store: UnitStore, lease_s: float) -> None:
        self._store = store
        self._lease_s = lease_s
        self._order: UnitOrder | None = None
        self._renewed_at = 0.0
        self._child: MediaChild | None = None
        self._lost = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._mind, name="minder", daemon=True)

    def __enter__(self) -> "Minder":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def keep(self, order: UnitOrder) -> None:
        """From now on keep the lease that this unit has got."""
        with self._lock:
            self._order, self._renewed_at = order, time.monotonic()

    @contextlib.contextmanager
    def minding(self, child: MediaChild) -> Iterator[None]:
        """While the unit is done: end this child when the lease is lost. Raises UnitDroppedError where it has been."""
        with self._lock:
            self._child = child
        try:
            if self._lost:
                raise UnitDroppedError
            yield
        finally:
            with self._lock:  # from here on the child is another's, and there is nothing to keep but a commit
                self._child = self._order = None

    def _mind(self) -> None:
        while not self._ended.wait(_LOOK_S):
            with self._lock:
                order, renewed_at = self._order, self._renewed_at
            if order is None:
                continue
            try:
                held = self._look(order, renewed_at)
            except (redis.RedisError, ValueError) as error:
                of = {"job": order.job_id, "unit": order.unit.name}
                _log.warning("a unit's lease can't be kept: %s", error, extra=of)
                continue
            with self._lock:
                if not held and self._order is order:
                    self._lost = True
                    if self._child is not None:
                        self._child.kill()
                    return

    def _look(self, order: UnitOrder, renewed_at: float) -> bool:
        now = time.monotonic()
        if now - renewed_at <= self._lease_s / 3:
            return self._store.holds(order.job_id, order.unit.name, order.fence)
        held = self._store.renew(order.job_id, order.unit.name, order.fence, self._lease_s)
        with self._lock:
            if self._order is order:
                self._renewed_at = now
        return held
