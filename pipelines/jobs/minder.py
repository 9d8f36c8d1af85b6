"""Keeping a unit's lease while it is done, and ending its child when it is taken away."""

import contextlib
import threading
import time
from collections.abc import Iterator

from cluster.child import MediaChild
from pipelines.jobs.errors import UnitDroppedError
from pipelines.jobs.orders import UnitOrder
from pipelines.jobs.unit_store import UnitStore

_LOOK_S = 0.4  # how often it looks whether the unit was taken away: a cancel is done in under 2 s


class Minder:
    """Keeps the lease of one unit after the other, until it is done; ends the child when the unit is taken away."""

    def __init__(self, store: UnitStore, lease_s: float) -> None:
        self._store = store
        self._lease_s = lease_s
        self._order: UnitOrder | None = None
        self._child: MediaChild | None = None
        self._taken = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="minder", daemon=True)

    def __enter__(self) -> "Minder":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def keep(self, order: UnitOrder) -> None:
        """From now on keep this unit's lease, which was just taken."""
        with self._lock:
            self._order = order

    @contextlib.contextmanager
    def minding(self, child: MediaChild) -> Iterator[None]:
        """Inside, this child ends with the lease, and the unit is done. Raises UnitDroppedError where it is taken."""
        with self._lock:
            self._child = child
        try:
            if self._taken:
                raise UnitDroppedError
            yield
        finally:
            with self._lock:  # from here on the child is another's, and there is nothing to keep but a commit
                self._child = self._order = None

    def _look(self) -> None:
        kept: UnitOrder | None = None
        renewed = 0.0
        while not self._ended.wait(_LOOK_S):
            with self._lock:
                order = self._order
            now = time.monotonic()
            if order is not kept:
                kept, renewed = order, now
            if order is None:
                continue
            if now - renewed > self._lease_s / 3:
                holds = self._store.renew(order.job_id, order.unit.name, order.fence, self._lease_s)
                renewed = now
            else:
                holds = self._store.holds(order.job_id, order.unit.name, order.fence)
            with self._lock:
                if not holds and self._order is order:
                    self._taken = True
                    if self._child is not None:
                        self._child.kill()
                    return
