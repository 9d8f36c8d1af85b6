"""Decide what becomes of each stream of a source: copied, encoded, converted or dropped, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.media.audio_plan import plan_audio
from pipelines.media.errors import (
    NoAudioStreamError,
    SourceUnsupportedError,
    StreamNotFoundError,
    TimeOutOfRangeError,
)
from pipelines.media.estimate import estimate
from pipelines.media.info import AnyStream, AudioInfo, MediaInfo, OtherInfo, SubtitleInfo, VideoInfo
from pipelines.media.plan import StreamPlan, TranscodePlan
from pipelines.media.profiles import TranscodeSettings
from pipelines.media.video_plan import plan_video

_CONTAINER_NAMES = {"mp4": "MP4", "webm": "WebM", "mkv": "Matroska", "mp3": "MP3", "opus": "Ogg"}
_TEXT_SUBTITLES = frozenset(
    {
        "subrip", "ass", "ssa", "mov_text", "webvtt", "text", "subviewer", "subviewer1", "microdvd", "sami", "stl",
        "jacosub", "realtext", "mpl2", "pjs", "vplayer",
    }
)  # fmt: skip
_SUBTITLE_TARGETS = {"mp4": "mov_text", "webm": "webvtt", "mkv": "subrip"}
_SUBTITLE_COPIES = {
    "mp4": frozenset({"mov_text"}),
    "webm": frozenset({"webvtt"}),
    "mkv": frozenset({"subrip", "ass", "webvtt", "hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle"}),
}
_COVER_CODECS = {
    "mp4": frozenset({"mjpeg", "png", "bmp"}),
    "mkv": frozenset({"mjpeg", "png"}),
    "mp3": frozenset({"mjpeg", "png"}),
}
_CHAPTER_CONTAINERS = frozenset({"mp4", "mkv", "webm", "mp3", "opus"})


@dataclass(frozen=True)
class _Decision:
    """A stream's plan, and the warning that goes with it where something the user may miss is lost."""

    plan: StreamPlan
    warning: str | None = None


def plan_streams(info: MediaInfo, settings: TranscodeSettings, threads: int | None = None) -> TranscodePlan:
    """Plan the transcode of ``info`` to ``settings``; ``threads`` bounds every codec, ``None`` leaves it to them.

    Raises:
        StreamNotFoundError: nothing would be left to write.
        TimeOutOfRangeError: the start lies behind the source's end.
        SourceUnsupportedError, LimitError: the pictures are too small or too large.
        ParamsError: the crop reaches beyond the picture, or sound that is to be copied can't be.
    """
    _check_times(info, settings)
    decisions = [_decide(stream, info, settings) for stream in info.streams]
    plans = tuple(decision.plan for decision in decisions)
    _check_something_is_left(plans, settings)
    keep_chapters = bool(info.chapters) and settings.container in _CHAPTER_CONTAINERS
    return TranscodePlan(
        container=settings.container,
        source=info,
        streams=plans,
        keep_chapters=keep_chapters,
        warnings=tuple(d.warning for d in decisions if d.warning is not None),
        damage=settings.damage,
        start_s=settings.start_s,
        end_s=settings.end_s,
        duration_s=_length_s(info, settings),
        threads=threads,
        **estimate(info, plans, _length_s(info, settings)),
    )


def _check_times(info: MediaInfo, settings: TranscodeSettings) -> None:
    if info.duration_s is not None and settings.start_s is not None and settings.start_s >= info.duration_s:
        raise TimeOutOfRangeError(
            f"start is {settings.start_s:g} s, but the source ends at {info.duration_s:.3f} s; give an earlier one.",
            start_s=settings.start_s,
            duration_s=info.duration_s,
        )


def no_frame(plan: TranscodePlan, beside_s: Sequence[float] = ()) -> TimeOutOfRangeError:
    """The error of a part in which no frame of the picture begins; ``beside_s``: when the nearest do."""
    end = "its end" if plan.end_s is None else f"{plan.end_s:g} s"
    nearest = " and ".join(f"{each_s:.3f} s" for each_s in beside_s)
    told = f"; the nearest begin at {nearest}" if nearest else ""
    return TimeOutOfRangeError(
        f"No frame of the picture begins between {plan.start_s or 0:g} s and {end}{told}. Give other times, or take a "
        "profile that keeps sound only."
    )


def _check_something_is_left(plans: tuple[StreamPlan, ...], settings: TranscodeSettings) -> None:
    if any(plan.kind in {"video", "audio"} and plan.action != "drop" and not plan.cover for plan in plans):
        return
    if settings.video is None:
        raise NoAudioStreamError(f"The source has no sound, and profile {settings.profile} keeps nothing else.")
    raise StreamNotFoundError("The source has neither pictures nor sound that can be decoded.")


def _length_s(info: MediaInfo, settings: TranscodeSettings) -> float | None:
    if info.duration_s is None:
        return None if settings.end_s is None else settings.end_s - (settings.start_s or 0)
    end_s = info.duration_s if settings.end_s is None else min(settings.end_s, info.duration_s)
    return max(0.0, end_s - (settings.start_s or 0))


def _decide(stream: AnyStream, info: MediaInfo, settings: TranscodeSettings) -> _Decision:
    if isinstance(stream, VideoInfo):
        return _decide_cover(stream, settings) if stream.attached_picture else _decide_video(stream, info, settings)
    if isinstance(stream, AudioInfo):
        return _decide_audio(stream, settings)
    if isinstance(stream, SubtitleInfo):
        return _decide_subtitle(stream, settings)
    return _decide_other(stream, info, settings)


def _decide_video(stream: VideoInfo, info: MediaInfo, settings: TranscodeSettings) -> _Decision:
    if settings.video is None:
        reason = f"profile {settings.profile} keeps sound only"
        return _Decision(_plan(stream, "drop", reason))
    if info.video is None or stream.index != info.video.index:
        return _drop(stream, "only the first video stream is kept")
    plan = plan_video(stream, info.container, settings.video, settings)
    return _Decision(plan, _video_warning(stream, plan))


def _video_warning(stream: VideoInfo, plan: StreamPlan) -> str | None:
    if plan.video is None:
        return None
    lost = []
    if stream.alpha:
        lost.append("its transparency")
    if stream.dolby_vision_profile is not None and not plan.video.tonemap:
        lost.append("its Dolby Vision data (the HDR picture below it is kept)")
    return f"Video stream {stream.index} loses {' and '.join(lost)}." if lost else None


def _decide_cover(stream: VideoInfo, settings: TranscodeSettings) -> _Decision:
    if stream.codec in _COVER_CODECS.get(settings.container, frozenset()):
        return _Decision(_plan(stream, "copy", "cover art is kept as it is", codec=stream.codec, cover=True))
    return _drop(stream, f"{_CONTAINER_NAMES[settings.container]} can't hold a cover of {stream.codec}")


def _decide_audio(stream: AudioInfo, settings: TranscodeSettings) -> _Decision:
    if settings.audio is None:
        return _Decision(_plan(stream, "drop", f"profile {settings.profile} keeps pictures only"))
    if not stream.sample_rate_hz or not stream.channels:
        return _drop(stream, "its header doesn't tell its sample rate or channels")
    return _Decision(plan_audio(stream, settings.audio, settings))


def _decide_subtitle(stream: SubtitleInfo, settings: TranscodeSettings) -> _Decision:
    container = settings.container
    holder = _CONTAINER_NAMES[container]
    if container not in _SUBTITLE_TARGETS:
        return _drop(stream, f"{holder} can't hold subtitles")
    target = _SUBTITLE_TARGETS[container]
    if stream.form == "bitmap" and stream.codec not in _SUBTITLE_COPIES[container]:
        return _drop(stream, f"{holder} can't hold bitmap subtitles ({stream.codec})")
    trimmed = settings.start_s is not None or settings.end_s is not None
    if stream.codec in _SUBTITLE_COPIES[container] and not (trimmed and stream.form == "text"):
        return _Decision(_plan(stream, "copy", f"{holder} holds {stream.codec} as it is", codec=stream.codec))
    if stream.codec not in _TEXT_SUBTITLES:
        return _drop(stream, f"subtitles of kind {stream.codec} can't be converted")
    reason = f"{stream.codec} becomes {target}, which {holder} holds"
    return _Decision(_plan(stream, "convert", reason, codec=target))


def _decide_other(stream: OtherInfo, info: MediaInfo, settings: TranscodeSettings) -> _Decision:
    if stream.undecodable is not None:
        if settings.damage == "fail":
            raise SourceUnsupportedError(
                f"Stream {stream.index} holds {_MEANS[stream.undecodable]} that nothing here can decode. "
                "To go on without it, set damage to conceal.",
                stream=stream.index,
            )
        return _drop(stream, f"it holds {_MEANS[stream.undecodable]} that nothing here can decode")
    if stream.codec == "bin_data" and info.chapters and info.container.startswith("mov"):
        return _Decision(_plan(stream, "drop", "it holds the titles of the chapters, which are kept as chapters"))
    if stream.kind == "attachment" and settings.container == "mkv":
        return _Decision(_plan(stream, "copy", "Matroska holds attachments", codec=stream.codec))
    what = "attachment" if stream.kind == "attachment" else "data stream"
    return _drop(stream, f"{_CONTAINER_NAMES[settings.container]} output holds no {what}")


_MEANS = {"video": "pictures", "audio": "sound", "subtitle": "subtitles"}


def _drop(stream: AnyStream, reason: str) -> _Decision:
    names = {"video": "Video", "audio": "Audio", "subtitle": "Subtitle", "data": "Data", "attachment": "Attachment"}
    language = f" ({stream.language})" if stream.language else ""
    warning = f"{names[_kind_of(stream)]} stream {stream.index}{language} is dropped: {reason}."
    return _Decision(_plan(stream, "drop", reason), warning)


def _kind_of(stream: AnyStream) -> str:
    return (stream.undecodable if isinstance(stream, OtherInfo) else None) or stream.kind


def _plan(stream: AnyStream, action: str, reason: str, codec: str | None = None, *, cover: bool = False) -> StreamPlan:
    return StreamPlan.model_validate(
        {
            "source_index": stream.index,
            "kind": stream.kind,
            "action": action,
            "reason": reason,
            "codec": codec,
            "cover": cover,
        }
    )
