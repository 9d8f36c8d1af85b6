"""What to do with a film, by what was seen of it."""

import math
from collections.abc import Mapping, Sequence
from statistics import median

from pipelines.media.errors import MediaError
from pipelines.media.info import MediaInfo, VideoInfo
from pipelines.media.plan import TranscodePlan
from pipelines.media.profiles import TranscodeSettings
from pipelines.media.progress import OnProgress
from pipelines.media.quality.quality_spec import QualityResult
from pipelines.media.quality.score import estimated_log2_step, score_of
from pipelines.media.source import Source
from pipelines.media.streams import plan_streams
from pipelines.media.upgrades.film import SeenFilm, see
from pipelines.media.upgrades.reasons import broken, fair, losses, lossy, low, wasteful
from pipelines.media.upgrades.saving import Compressed, reencode
from pipelines.media.upgrades.upgrades_spec import REENCODE, Advice, Gain, Picture, Recipe, UpgradeSpec
from pipelines.media.video_plan import nominal_rate

_GOOD = score_of(3.0, 1080, "").score  # of a film of 1080 lines at x264's CRF 21
_COMPRESSED = 60.0  # a lower score: what was lost shows, and encoding it again loses more
_GROUP_OF_ONE = 1.01  # frames
_BITS = 8
# Containers that few devices play, and what plays in others.
_ODD = {
    **{"flv": "FLV", "asf": "ASF", "rm": "RealMedia", "mpegts": "MPEG-TS", "mpeg": "MPEG-PS", "mxf": "MXF"},
    **{"gxf": "GXF", "nut": "NUT", "wtv": "WTV", "ivf": "IVF"},
}


def advise(
    source: Source, spec: UpgradeSpec, settings: Mapping[str, TranscodeSettings], on_progress: OnProgress
) -> Advice:
    """Look at ``source`` and judge it. ``settings`` of the re-encode, and of profiles that may copy it, by their names.

    Raises:
        SourceError, LimitError: see ``see``.
    """
    return advice_of(see(source, on_progress), spec, settings)


def advice_of(film: SeenFilm, spec: UpgradeSpec, settings: Mapping[str, TranscodeSettings]) -> Advice:
    """``broken`` before all; a low score before what its bytes are worth; those before the container."""
    facts = Advice(action="keep", reasons=(), size_bytes=film.size_bytes)
    if film.errors or film.info is None:
        return _with(facts, action="replace", broken=True, reasons=broken(film))
    video, quality = film.info.video, film.quality
    facts = _with(facts, duration_s=film.info.duration_s)
    if video is None or quality is None:
        return _with(facts, reasons=("It has no moving picture to judge.",))
    facts = _with(facts, picture=_picture(film, film.info, video, quality), score=quality.score, grade=quality.grade)
    if not quality.pictures:
        return _with(facts, action="replace", broken=True, reasons=("No picture of it decodes.",))
    if quality.score is not None and quality.score < spec.least_score:
        gain = Gain(points=round(_GOOD - quality.score, 1))
        return _with(facts, action="replace", reasons=low(quality, quality.score), gain=gain)
    judged = _reencoded(facts, film, film.info, video, spec, settings[REENCODE])
    return judged if judged.action != "keep" else _remuxed(judged, film, film.info, settings)


def _with(advice: Advice, **changes: object) -> Advice:
    return advice.model_copy(update=changes)


def _picture(film: SeenFilm, info: MediaInfo, video: VideoInfo, quality: QualityResult) -> Picture:
    rate_bps = None
    if film.picture_bytes is not None and info.duration_s:
        rate_bps = round(film.picture_bytes * _BITS / info.duration_s)
    return Picture(
        codec=video.codec,
        width=video.width,
        height=video.height,
        frame_rate=round(float(nominal_rate(video)), 3),
        hdr=video.hdr,
        bit_rate_bps=rate_bps,
        bits_per_pixel=quality.summary.bits_per_pixel if quality.summary else None,
        group_frames=None if film.group_frames is None else round(film.group_frames, 1),
    )


def _reencoded(
    facts: Advice,
    film: SeenFilm,
    info: MediaInfo,
    video: VideoInfo,
    spec: UpgradeSpec,
    settings: TranscodeSettings,
) -> Advice:
    """To be encoded again, or to be kept, and why."""
    if facts.score is None or film.quality is None or not film.picture_bytes:
        return _with(facts, reasons=("Its bit rate or its quality can't be told.",))
    coarse = any(each.code == "coarse" for each in film.quality.recommendations)
    if facts.score < _COMPRESSED or coarse:
        return _with(facts, reasons=(lossy(facts.score),))
    if video.alpha or video.dolby_vision_profile is not None:
        lost = "transparency" if video.alpha else "Dolby Vision data"
        return _with(facts, reasons=(f"Encoded again it would lose its {lost}.",))
    before = _compressed(film, video, film.quality, film.picture_bytes)
    after = reencode(before, spec.codec, spec.most_loss)
    if after is None:
        return _with(facts, reasons=(f"Encoded again it would lose more than {spec.most_loss:g} points.",))
    saved = after.gain.bytes_saved or 0
    if saved < spec.least_saving * film.size_bytes:
        return _with(facts, reasons=(fair(before, after, saved / film.size_bytes, spec),))
    plan = _planned(info, settings)
    if isinstance(plan, MediaError):
        return _with(facts, reasons=(plan.message,))
    recipe = Recipe(
        params={"profile": settings.profile, "codec": spec.codec, "crf": after.crf},
        container=settings.container,
        losses=(*plan.warnings, *losses(video)),
    )
    return _with(facts, action="re-encode", reasons=wasteful(before, video), gain=after.gain, recipe=recipe)


def _compressed(film: SeenFilm, video: VideoInfo, quality: QualityResult, picture_bytes: int) -> Compressed:
    log2_step, summary = math.log2(quality.parts[0].value), quality.summary
    told = summary is not None and summary.step is not None
    bits_per_pixel = summary.bits_per_pixel if summary else None
    step_of_bits = log2_step
    if bits_per_pixel:
        busy = median(point.si for point in quality.points)
        explained = estimated_log2_step(video.codec, bits_per_pixel, busy)
        step_of_bits = max(explained, log2_step) if told else explained
    return Compressed(
        codec=video.codec,
        size_bytes=picture_bytes,
        log2_step=log2_step,
        step_of_bits=step_of_bits,
        told=told,
        keyframes_only=told and film.group_frames is not None and film.group_frames < _GROUP_OF_ONE,
    )


def _planned(info: MediaInfo, settings: TranscodeSettings) -> TranscodePlan | MediaError:
    try:
        return plan_streams(info, settings)
    except MediaError as error:
        return error


def _remuxed(facts: Advice, film: SeenFilm, info: MediaInfo, settings: Mapping[str, TranscodeSettings]) -> Advice:
    """In another container, if its own is odd or isn't ready to be played, and all of it can be copied."""
    reasons: Sequence[str] = ()
    if info.container in _ODD:
        reasons = (f"Few devices play {_ODD[info.container]}; all that is in it can be copied.",)
    elif film.index_last:
        reasons = ("Its index is at its end: a player can't begin before it has all of it, or seeks.",)
    if not reasons:
        return facts
    for name, each in settings.items():
        plan = None if name == REENCODE else _planned(info, each)
        if isinstance(plan, TranscodePlan) and _copies_all(plan):
            recipe = Recipe(params={"profile": name, "audio_codec": "copy"}, container=plan.container)
            return _with(facts, action="remux", reasons=tuple(reasons), gain=Gain(points=0.0), recipe=recipe)
    return facts


def _copies_all(plan: TranscodePlan) -> bool:
    return not plan.warnings and all(stream.action in {"copy", "convert"} for stream in plan.streams)
