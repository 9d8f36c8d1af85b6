"""Why a film is to be replaced, encoded again or kept, in words. Pure."""

from pipelines.media.info import VideoInfo
from pipelines.media.quality.quality_spec import QualityResult
from pipelines.media.quality.score import LOSSLESS
from pipelines.media.upgrades.film import SeenFilm
from pipelines.media.upgrades.saving import Compressed, Reencode
from pipelines.media.upgrades.upgrades_spec import UpgradeSpec

_TOLD = 3  # findings
_SCALED_UP = 0.7  # of the lines
_UNSEEN = 2.0  # logarithm of a step that nobody sees
_MEASURED = frozenset({"blocky", "banded", "noisy"})  # recommendations that say what is wrong
_FINER_COLOUR = ("422", "444", "rgb", "gbr")


def broken(film: SeenFilm) -> tuple[str, ...]:
    told = [
        each.message if each.time_s is None else f"{each.message[:-1]} (first at {each.time_s:.1f} s)."
        for each in film.errors[:_TOLD]
    ]
    more = len(film.errors) - _TOLD
    return (*dict.fromkeys(told), *((f"And {more} more: validate it.",) if more > 0 else ()))


def low(quality: QualityResult, score: float) -> tuple[str, ...]:
    """The worse side of a low score, and what was measured beside it."""
    compression, resolution = quality.parts
    reasons = [f"It scores {score:.0f} of 100 ({quality.grade})."]
    summary = quality.summary
    if compression.score <= resolution.score:
        reasons.append(f"It is coarsely compressed: steps of {compression.value:.0f} levels.")
    elif summary is not None and summary.effective_height < _SCALED_UP * summary.height:
        reasons.append(f"Its {summary.height} lines hold the detail of about {summary.effective_height}.")
    else:
        reasons.append(f"It has no more than {resolution.value:.0f} lines.")
    reasons += [each.message for each in quality.recommendations if each.code in _MEASURED]
    return tuple(reasons)


def lossy(score: float) -> str:
    return f"It scores {score:.0f} of 100: what was lost shows already, and encoding it again would lose more."


def wasteful(before: Compressed, video: VideoInfo) -> tuple[str, ...]:
    name = (video.codec_long_name or video.codec or "Its codec").partition(" / ")[0]
    if video.codec in LOSSLESS:
        return (f"{name} keeps all, also what nobody sees. Keep it if it's a master.",)
    reasons = ["All its pictures are keyframes."] if before.keyframes_only else []
    if before.log2_step < _UNSEEN:
        reasons.append(
            f"Steps of {2**before.log2_step:.1f} levels are finer than anyone sees. Keep it if it's a master."
        )
    return (*reasons, f"{name} takes far more bits than the same look needs.")


def fair(before: Compressed, after: Reencode, share: float, spec: UpgradeSpec) -> str:
    if share <= 0:
        return f"Its {before.codec} is as small as its look lets it be."
    return (
        f"Its bit rate is fair: {spec.codec} at CRF {after.crf} would save about {share:.0%} of its bytes, "
        f"for {-(after.gain.points or 0.0):.1f} points."
    )


def losses(video: VideoInfo) -> tuple[str, ...]:
    """What an encode loses beside what its plan warns of."""
    lost = []
    if any(each in (video.pixel_format or "") for each in _FINER_COLOUR):
        lost.append(f"Its colour ({video.pixel_format}) is finer than the 4:2:0 that is made of it.")
    if video.interlaced:
        lost.append("Its fields become whole pictures.")
    return tuple(lost)
