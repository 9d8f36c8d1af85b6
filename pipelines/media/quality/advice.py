"""What would make a film better or smaller, by what was measured of it. Pure."""

from collections.abc import Iterator, Mapping

from pipelines.media.info import MediaInfo, VideoInfo
from pipelines.media.quality.quality_spec import FlawKind, Recommendation, Score, Summary

_OLD = {
    **{"mpeg1video": "MPEG-1", "mpeg2video": "MPEG-2", "mpeg4": "MPEG-4 part 2", "h263": "H.263", "vc1": "VC-1"},
    **{"msmpeg4v3": "MPEG-4 (Microsoft)", "wmv3": "WMV", "theora": "Theora", "mjpeg": "Motion JPEG", "vp8": "VP8"},
    **{"flv1": "Sorenson H.263", "rv40": "RealVideo", "cinepak": "Cinepak", "dvvideo": "DV", "wmv2": "WMV"},
}
_MODERN = frozenset({"h264", "hevc", "av1", "vp9"})
_COARSE_STEP = 25.0  # levels: x264's CRF 33 and worse
_FINE_STEP = 6.0  # levels: finer than our profiles for watching, which begin at about 8
_MANY_BITS = 0.12  # per pixel of 1080p, as H.264 has them: twice what most films take at CRF 21
_BITS_BY_PIXELS = 0.25  # smaller pictures take more a pixel: bits rise with pixels to the power of 0.75 (Waggoner)
_HD_PIXELS = 1920 * 1080
_SCALED_UP = 0.7  # of the lines
_NOISY, _BANDED, _BLOCKY = 4.0, 0.35, 1.35
_CLIPPED_S = 1.0


def recommendations(
    info: MediaInfo, summary: Summary | None, score: Score | None, flawed_s: Mapping[FlawKind, float]
) -> tuple[Recommendation, ...]:
    found: list[Recommendation] = []
    if info.video is not None and summary is not None and score is not None:
        step = None if summary.step is None else score.parts[0].value
        found += _of_picture(info.video, summary, step)
    if flawed_s.get("clipping", 0.0) >= _CLIPPED_S:
        found.append(
            Recommendation(code="sound_clips", message="The sound is cut off at full scale; look for a better source.")
        )
    return tuple(found)


def _of_picture(video: VideoInfo, summary: Summary, step: float | None) -> Iterator[Recommendation]:
    """``step``: as it shows, if the stream tells it."""
    scaled_up = summary.effective_height < _SCALED_UP * summary.height
    coarse = step is not None and step > _COARSE_STEP
    many = _MANY_BITS * (_HD_PIXELS / (video.width * video.height)) ** _BITS_BY_PIXELS
    fine = step is None or step < _FINE_STEP
    if coarse:
        message = (
            f"Coarsely compressed: steps of {step:.0f} levels. What is lost stays lost, so don't encode it "
            "again; look for a better source."
        )
        yield Recommendation(code="coarse", message=message)
    if scaled_up and not coarse:
        message = (
            f"Its {summary.height} lines hold the detail of about {summary.effective_height}: it was scaled up, or is "
            "soft. A smaller picture looks the same and takes fewer bits."
        )
        yield Recommendation(code="scaled_up", message=message, profile=profile_for(video, summary.effective_height))
    elif video.codec in _OLD:
        message = f"{_OLD[video.codec or '']} takes about twice the bits of newer codecs, and fewer devices play it."
        yield Recommendation(code="old_codec", message=message, profile=profile_for(video, summary.height))
    elif fine and (summary.h264_bits_per_pixel or 0.0) > many and video.codec in _MODERN:
        message = (
            f"{summary.bits_per_pixel:.2f} bits per pixel are more than anyone sees; encoded again it looks the same "
            "and is far smaller. Keep it if it's a master."
        )
        yield Recommendation(code="many_bits", message=message, profile=profile_for(video, summary.height))
    if summary.noise > _NOISY:
        message = f"Noisy: levels vary by {summary.noise:.1f} of 255; noise takes most of the bits of an encode."
        yield Recommendation(code="noisy", message=message, profile="av1-1080p")
    if summary.banding > _BANDED and (video.bit_depth or 8) == 8:
        message = "Steps show in smooth areas: encode from the source with ten bits, which have finer ones."
        yield Recommendation(code="banded", message=message, profile="av1-1080p")
    if step is None and summary.blockiness > _BLOCKY:
        yield Recommendation(code="blocky", message="Blocks show; look for a better source.")


def profile_for(video: VideoInfo, lines: int) -> str:
    """The profile that keeps what is there: HDR where there is some, no larger than ``lines`` need."""
    if video.hdr != "sdr":
        return "av1-1080p" if lines <= _HD_LINES else "archive-hevc"
    return next((name for name, most in _BY_LINES if lines <= most), "archive-hevc")


_HD_LINES = 1100
_BY_LINES = (("mobile-480p", 500), ("web-720p", 760), ("web-1080p", _HD_LINES))
