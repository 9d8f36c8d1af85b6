"""Which upgrade of a library is worth most, and what all of them come to. Pure."""

from collections.abc import Iterable

from pydantic import BaseModel

from pipelines.media.upgrades.upgrades_spec import Action, Advice

_ORDER: tuple[Action, ...] = ("re-encode", "replace", "remux", "keep")


class Totals(BaseModel, frozen=True, extra="forbid"):
    """What upgrades come to: films by what to do with them, and bytes that encoding some again saves of ``size_bytes``.

    The range is that of films which are all off alike.
    """

    actions: dict[Action, int]
    broken: int
    size_bytes: int
    bytes_saved: int
    least_bytes: int
    most_bytes: int


def rank_key(advice: Advice) -> tuple[bool, float, float, int, int]:
    """Sorts broken films first, then by bytes saved, as far as they are sure, then by points of quality."""
    gain = advice.gain
    saved = (gain.bytes_saved or 0) * gain.confidence if gain else 0.0
    points = max(0.0, gain.points or 0.0) if gain else 0.0
    return not advice.broken, -saved, -points, _ORDER.index(advice.action), -advice.size_bytes


def totals_of(library: Iterable[Advice]) -> Totals:
    library = list(library)
    gains = [advice.gain for advice in library if advice.action == "re-encode" and advice.gain is not None]
    return Totals(
        actions={action: sum(advice.action == action for advice in library) for action in _ORDER},
        broken=sum(advice.broken for advice in library),
        size_bytes=sum(advice.size_bytes for advice in library),
        bytes_saved=sum(gain.bytes_saved or 0 for gain in gains),
        least_bytes=sum(gain.least_bytes or 0 for gain in gains),
        most_bytes=sum(gain.most_bytes or 0 for gain in gains),
    )
