"""What to find out about a file in one pass, and what came of it: the values that travel. Pure."""

from pydantic import BaseModel, Field

from pipelines.media.info import MediaInfo
from pipelines.media.parts import Part
from pipelines.media.probing.probe_result import AllSoundFindings, PacketFindings, PictureFindings, ProbeResult
from pipelines.media.quality.quality_result import conclude as conclude_quality
from pipelines.media.quality.quality_spec import Measured, QualityPlan, QualityResult, QualitySpec
from pipelines.media.stills_spec import StillsResult, StillsSpec
from pipelines.media.storyboard.slots import BoardPlan
from pipelines.media.storyboard.storyboard_spec import StoryboardResult, StoryboardSpec
from pipelines.media.validation.report import Checked, ValidationResult, merge
from pipelines.media.validation.report import conclude as conclude_validation

BOARD = StoryboardSpec()


class InspectSpec(BaseModel, frozen=True, extra="forbid"):
    stills: int = Field(default=5, ge=0, le=100, description="How many of the most telling frames to make stills of.")
    storyboard: bool = Field(default=True, description="Make a storyboard, too.")

    @property
    def telling(self) -> StillsSpec:
        """What ``thumbnails`` is asked for."""
        return StillsSpec(count=self.stills, telling=True)


class TileFrame(BaseModel, frozen=True, extra="forbid"):
    """The frame of a tile: ``pts`` in the picture's time base, and the same from the container's start."""

    pts: int
    time_s: float
    keyframe: bool


class TilesPlan(BaseModel, frozen=True, extra="forbid"):
    """A storyboard, and for each of its tiles the frame that packets tell; ``None`` where they don't."""

    board: BoardPlan
    frames: tuple[TileFrame | None, ...]

    @property
    def wanted(self) -> frozenset[int]:
        return frozenset(frame.pts for frame in self.frames if frame is not None)


class InspectionPlan(BaseModel, frozen=True, extra="forbid"):
    """What was found by reading all packets once, and what the pass over ``parts`` is to look for.

    ``info`` and ``packets`` are ``None`` of a file that can't be opened. A picture is measured each ``every_s``
    seconds, if there is something to measure. ``reason``: why the picture is cut as it is. ``cut_off``: what is told
    of a film of which a part is missing.
    """

    looked: Checked
    reason: str
    info: MediaInfo | None = None
    packets: PacketFindings | None = None
    parts: tuple[Part, ...] = ()
    every_s: float | None = None
    tiles: TilesPlan | None = None
    cut_off: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Seen(BaseModel, frozen=True, extra="forbid"):
    """What was seen of one part. ``tiles``: the file that holds pictures of tiles, if any."""

    checked: Checked
    measured: Measured | None = None
    sound: AllSoundFindings | None = None
    tiles: str | None = None


class Inspection(BaseModel, frozen=True, extra="forbid"):
    """What ``probe --deep``, ``validate``, ``quality --full``, ``thumbnails`` and ``storyboard`` tell of a file.

    Fewer pictures are measured than in ``quality --full``, though all are looked at for flaws. One is ``None`` where it
    can't be told, or wasn't asked for.
    """

    probe: ProbeResult | None
    validation: ValidationResult
    quality: QualityResult | None
    stills: StillsResult | None
    storyboard: StoryboardResult | None


def conclude(
    plan: InspectionPlan,
    seen: tuple[Seen, ...],
    picture: PictureFindings | None,
    stills: StillsResult | None,
    storyboard: StoryboardResult | None,
) -> Inspection:
    """The result of all parts, and of what was looked for beside them."""
    return Inspection(
        probe=_probe(plan, seen, picture),
        validation=conclude_validation(
            merge([plan.looked, *(each.checked for each in seen)]),
            level="full",
            packets_read="none" if plan.info is None else "all",
            decoded="all" if seen else "none",
        ),
        quality=_quality(plan, seen),
        stills=stills,
        storyboard=storyboard,
    )


def _probe(plan: InspectionPlan, seen: tuple[Seen, ...], picture: PictureFindings | None) -> ProbeResult | None:
    if plan.info is None:
        return None
    heard = [each.sound for each in seen if each.sound is not None]
    sound = AllSoundFindings(
        tracks=tuple(sorted((track for each in heard for track in each.tracks), key=lambda track: track.index)),
        warnings=tuple(warning for each in heard for warning in each.warnings),
        elapsed_s=round(sum(each.elapsed_s for each in heard), 3),
    )
    return ProbeResult(**dict(plan.info), packets=plan.packets, picture=picture, sound=sound if heard else None)


def _quality(plan: InspectionPlan, seen: tuple[Seen, ...]) -> QualityResult | None:
    if plan.info is None or plan.every_s is None:
        return None
    measured = [each.measured for each in seen if each.measured is not None]
    planned = QualityPlan(info=plan.info, every_s=plan.every_s, warnings=plan.cut_off)
    return conclude_quality(planned, measured, QualitySpec(full=True))
