"""Flaws of a film, found as its pictures and samples come, and joined where parts meet. Pure."""

from collections.abc import Iterable

from pipelines.media.quality.quality_spec import Flaw, FlawKind

# What libavfilter's blackdetect, freezedetect and silencedetect take if they aren't told.
LEAST_S: dict[FlawKind, float] = {"black": 2.0, "freeze": 2.0, "silence": 2.0, "clipping": 0.0}
_GAP_S: dict[FlawKind, float] = {"black": 0.1, "freeze": 0.1, "silence": 0.1, "clipping": 1.0}
_EDGE_S = 0.2  # of a part: what is as near may go on beyond it


class FlawMeter:
    """Collects flaws of one kind from what is told of each moment, in rising order."""

    def __init__(self, kind: FlawKind, stream: int) -> None:
        self._kind: FlawKind = kind
        self._stream = stream
        self._found: list[Flaw] = []
        self._since_s: float | None = None
        self._begin_s: float | None = None

    def add(self, time_s: float, *, flawed: bool, since_s: float | None = None) -> None:
        """``since_s``: when it began, if that was before it could be told."""
        if self._begin_s is None:
            self._begin_s = time_s
        if flawed and self._since_s is None:
            self._since_s = time_s if since_s is None else since_s
        elif not flawed:
            self.end(time_s)

    def end(self, time_s: float) -> None:
        """What goes on ends."""
        if self._since_s is not None:
            self._found.append(Flaw(kind=self._kind, stream=self._stream, start_s=self._since_s, end_s=time_s))
        self._since_s = None

    def result(self, end_s: float) -> list[Flaw]:
        """Those that are long enough, and those that touch the edges of what was looked at."""
        self.end(end_s)
        first_s = (self._begin_s or 0.0) + _EDGE_S
        return [
            each
            for each in joined(self._found)
            if _long(each) or each.start_s <= first_s or each.end_s >= end_s - _EDGE_S
        ]


def joined(flaws: Iterable[Flaw]) -> list[Flaw]:
    """Those of one kind and stream that touch become one; sorted by time."""
    latest: dict[tuple[FlawKind, int], Flaw] = {}
    done: list[Flaw] = []
    for each in sorted(flaws, key=lambda flaw: flaw.start_s):
        key = (each.kind, each.stream)
        before = latest.get(key)
        if before is not None and each.start_s <= before.end_s + _GAP_S[each.kind]:
            latest[key] = before.model_copy(update={"end_s": max(before.end_s, each.end_s)})
            continue
        if before is not None:
            done.append(before)
        latest[key] = each
    return sorted([*done, *latest.values()], key=lambda flaw: flaw.start_s)


def long_enough(flaws: Iterable[Flaw]) -> list[Flaw]:
    return [each for each in joined(flaws) if _long(each)]


def _long(flaw: Flaw) -> bool:
    return flaw.end_s - flaw.start_s >= LEAST_S[flaw.kind] - 1e-6
