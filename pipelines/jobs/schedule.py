"""Who is served next: priority, then equal shares of time by owner, then by job; waiting lifts. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipelines.jobs.models import Needs, Priority

_CLASSES = (Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.URGENT)


@dataclass(frozen=True)
class Candidate:
    """A job that has a unit to start. ``last_served`` numbers grants: 0 is never.

    ``waited_s``: how long nothing of it has run though it could have. ``served_s``, ``owner_served_s``: CPU-seconds
    that it and its owner have been given, as ``Shares`` counts them.
    """

    job_id: str
    owner: str
    priority: Priority
    created_at: int
    waited_s: float
    cpus_in_use: int
    last_served: int
    served_s: float = 0.0
    owner_served_s: float = 0.0


def class_of(priority: Priority) -> int:
    """0–3: what was asked for."""
    return _CLASSES.index(priority)


def effective_class(priority: Priority, waited_s: float, lift_s: float) -> int:
    """0–3: the priority's class, one higher for each ``lift_s`` waited. Waiting alone never makes a job urgent."""
    base = class_of(priority)
    lifted = base + int(max(0.0, waited_s) // lift_s)
    return max(base, min(lifted, _CLASSES.index(Priority.HIGH)))


def in_order(
    candidates: Iterable[Candidate], *, lift_s: float, owners_served: Mapping[str, int] | None = None
) -> list[Candidate]:
    """Candidates, the one to serve first in front. ``owners_served``: the last grants to owners, by other jobs too.

    Higher class first; inside a class the owner with fewer CPUs in use, then the one who has had less time; of an
    owner's jobs the one with fewer CPUs, then with less time. Of equals whoever was served longest ago, then the
    older job.
    """
    listed = list(candidates)
    by_owner: dict[str, int] = {}
    owner_served = dict(owners_served or {})
    for each in listed:
        by_owner[each.owner] = by_owner.get(each.owner, 0) + each.cpus_in_use
        owner_served[each.owner] = max(owner_served.get(each.owner, 0), each.last_served)

    def key(each: Candidate) -> tuple[float | str, ...]:
        return (
            -effective_class(each.priority, each.waited_s, lift_s),
            by_owner[each.owner],
            each.owner_served_s,
            owner_served[each.owner],
            each.cpus_in_use,
            each.served_s,
            each.last_served,
            each.created_at,
            each.job_id,
        )

    return sorted(listed, key=key)


def share_of_cpus(cpus: int, *, granted: int, at_work: int, waiting: int) -> int:
    """What each of the ``waiting`` heavy units gets of all ``cpus`` beside ``at_work`` ones that may use ``granted``.

    As much of what nobody uses as the others that wait; or, where all are used, as much as those at work: the kernel
    shares between them.
    """
    waiting = max(1, waiting)
    return max((cpus - granted) // waiting, cpus // (at_work + waiting))


def grant_cpus(needs: Needs, *, share: int, most: int) -> int:
    """CPUs that a heavy unit may use: its share, if it can use as many and a node has as ``most``; at least one."""
    return max(1, min(max(needs.cpus, share), needs.max_cpus, most))
