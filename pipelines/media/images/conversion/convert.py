"""Write an image in another format, or smaller in its own: upright, in sRGB, without the source's metadata."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from PIL import Image

from pipelines.media.errors import EncodeError, LimitError, MediaError, ParamsError
from pipelines.media.images.conversion.convert_spec import (
    BYTES_TRIES,
    QUALITY_TRIES,
    Candidate,
    Chroma,
    Converted,
    ConvertFormat,
    ConvertSpec,
)
from pipelines.media.images.conversion.deep import Deep, deep_pixels, deep_png
from pipelines.media.images.conversion.encoders import Method, Way
from pipelines.media.images.conversion.frames import Frames, read_frames
from pipelines.media.images.conversion.kept import own_bytes
from pipelines.media.images.conversion.search import (
    FULL_CHROMA_FROM,
    Judge,
    Try,
    attempts,
    has_fine_colour,
    largest_that_fits,
    least_that_looks,
    sample_attempts,
    start_for,
)
from pipelines.media.images.encode import written
from pipelines.media.images.header import bytes_of, open_image
from pipelines.media.images.metadata.carried import carried
from pipelines.media.source import Source, name_of

_FULL_CHROMA_QUALITY = 90
_MAX_SIDE = {"jpeg": 65_500, "webp": 16_383, "avif": 32_768, "png": 65_536}
_NEAR = 1.2  # of the samples' bytes of the best: what is larger isn't made whole
_MOVING = 4.0  # times as much for animations: what frames have in common isn't seen on samples
# How much larger a PNG made quickly may be for each to be tried: a PNG with more effort has 0.7 to 1 of its bytes,
# WebP without loss 0.5 to 0.8, a palette 0.2 to 0.4.
_HOPE = {("png", "lossless"): 1.5, ("webp", "lossless"): 2.0, ("png", "palette"): 4.0}
_SAVES = 0.98
_SHORT = 0.5  # of SSIMULACRA2: nobody sees it
_SLACK, _WHOLE_SLACK, _WHOLE_TRIES = 0.7, 1.5, 3

_LARGER = "It is larger than the source: at a lower quality, or in the format it has, it may be smaller."


@dataclass(frozen=True)
class _Made:
    """A candidate, and its whole file if there is one; ``sampled_bytes`` are of the samples."""

    way: Way
    row: Candidate
    data: bytes | None = None
    sampled_bytes: int = 0

    @property
    def score(self) -> float:
        return self.row.ssimulacra2 if self.row.ssimulacra2 is not None else 0.0


def convert(source: Source, target: Path, spec: ConvertSpec) -> Converted:
    """Write one file: ``target`` and its format's extension.

    Raises:
        SourceError: it's no image that is read here, or it's damaged.
        LimitError: it has too many pixels, bytes or frames, or is too large for the format.
        ParamsError: what is asked can't be had of this image: fields tell what can.
        OutOfSpaceError, EncodeError: see ``mux``.
    """
    name = name_of(source)
    data = bytes_of(source)
    with open_image(data, name) as image:
        frames = read_frames(data, image, name, spec)
        along = carried(data, image, spec.keep)
        own = _own(data, image, frames, spec, name)
        deep = deep_pixels(data, image, frames) if spec.depth == "keep" else None
    if deep is not None:
        made, reason, bits = [_deep(deep, frames, spec, name)], "PNG keeps 16 bits.", 16
    else:
        work = _Work(frames, spec, name)
        made, bits = list(work.candidates(own)), 8
        made, reason = work.decided(made)
    best = next(each for each in made if each.row.chosen)
    assert best.data is not None
    whole = along.within(best.data, best.row.format, frames.size)
    file = written(target, "", whole, best.row.format, frames.size)
    saved = len(data) - len(whole)
    return Converted(
        source=frames.info,
        files=(file,),
        warnings=(*_warnings(frames, best, spec, bits), *((_LARGER,) if saved < 0 else ())),
        format=best.row.format,
        quality=best.row.quality,
        lossless=best.row.method in ("lossless", "kept"),
        chroma=best.way.chroma if best.row.method == "lossy" and frames.arrays[0].shape[2] > 1 else None,
        progressive=_is_progressive(best.data, best.row.format),
        frames=len(frames.arrays),
        bits=bits,
        ssimulacra2=round(best.score, 2),
        source_size_bytes=len(data),
        size_bytes=len(whole),
        saved_bytes=saved,
        saved_percent=round(100 * saved / len(data), 1),
        tries=sum(each.row.tries for each in made),
        kept=best.row.method == "kept",
        reason=reason,
        candidates=tuple(each.row for each in made),
    )


def _own(data: bytes, image: Image.Image, frames: Frames, spec: ConvertSpec, name: str) -> _Made | None:
    """The source's own compressed pixels, where they may stay."""
    format_ = frames.info.format
    wanted = spec.skip_larger or (spec.lossless and format_ == "jpeg")
    if not wanted or format_ not in spec.allowed or format_ in ("gif", "tiff", "bmp"):
        return None
    kept = own_bytes(data, image, frames, spec, name)
    if kept is None:
        return None
    row = Candidate(format=format_, method="kept", ssimulacra2=100.0, size_bytes=len(kept))
    return _Made(Way(format_, "lossless"), row, kept, len(kept))


def _deep(deep: Deep, frames: Frames, spec: ConvertSpec, name: str) -> _Made:
    made = deep_png(deep, frames.size, spec, name)
    if spec.target_bytes is not None and len(made) > spec.target_bytes:
        raise _too_small(spec.target_bytes, len(made), "a PNG of 16 bits")
    row = Candidate(format="png", method="lossless", ssimulacra2=100, size_bytes=len(made), tries=1, chosen=True)
    return _Made(Way("png", "lossless"), row, made)


class _Work:
    """Makes the candidates for one picture, and decides."""

    def __init__(self, frames: Frames, spec: ConvertSpec, name: str) -> None:
        self._frames, self._spec, self._name = frames, spec, name
        self._judge = Judge(frames)

    def candidates(self, own: _Made | None) -> Iterator[_Made]:
        """All that were tried."""
        if own is not None:
            yield own
        if own is not None and self._spec.target_bytes is not None and _size(own) <= self._spec.target_bytes:
            return
        ways = list(self._ways())
        if not ways and own is None:
            self._refuse()
        if self._spec.target_bytes is not None:
            yield from self._fitting(ways, self._spec.target_bytes)
        elif self._spec.goal is not None:
            yield from self._looking(ways, self._spec.goal)
        else:
            yield from (self._without_hope(way, own) or self._whole(way, self._spec.quality or 100) for way in ways)

    def decided(self, made: list[_Made]) -> tuple[list[_Made], str]:
        """The candidates with the chosen one marked, and why it is."""
        spec = self._spec
        own = next((each for each in made if each.row.method == "kept"), None)
        whole = [each for each in made if each.data is not None and each is not own]
        if own is not None and spec.target_bytes is not None and _size(own) <= spec.target_bytes:
            return _mark(made, own), "The source's compressed pixels fit as they are."
        if spec.target_bytes is not None:
            best = max(whole, key=lambda each: (round(each.score, 1), -_size(each)))
            return _mark(made, best), "Looks the most like the source of what fits."
        goal = spec.goal
        good = [each for each in whole if goal is None or each.score >= goal - _SHORT]
        if own is not None and (not good or min(map(_size, good)) > _size(own) * _SAVES):
            return _mark(made, own), "Nothing else saves 2 % over the source's compressed pixels."
        if good:
            best = min(good, key=_size)
            why = "The smallest" if len(made) > 1 else "The only one asked for"
            return _mark(made, best), f"{why}{f' that reaches {goal:g}' if goal is not None else ''}."
        best = max(whole, key=lambda each: (each.score, -_size(each)))
        return _mark(made, best), f"None reaches {goal:g}; this comes nearest."

    def _refuse(self) -> None:
        if self._spec.lossless:
            raise ParamsError(
                f"{self._name} can't become JPEG without loss: only a JPEG file that is upright, in sRGB and not "
                "scaled can. PNG and WebP can.",
                formats="png,webp",
            )
        width, height = self._frames.size
        raise LimitError(
            f"{self._name} has {width}x{height} pixels, or what no allowed format ({', '.join(self._spec.allowed)}) "
            "holds: transparency, or frames.",
            width=width,
            height=height,
        )

    @cached_property
    def _chroma(self) -> Chroma:
        spec = self._spec
        if spec.chroma != "auto":
            return spec.chroma
        high = (spec.quality or 0) >= _FULL_CHROMA_QUALITY or (spec.goal or 0) >= FULL_CHROMA_FROM
        return "4:4:4" if high or has_fine_colour(self._judge) else "4:2:0"

    def _ways(self) -> Iterator[Way]:
        """Ways that the picture and the spec allow."""
        spec = self._spec
        animated = self._frames.timing is not None
        only_jpeg = spec.allowed == ("jpeg",)
        for format_ in spec.allowed:
            if max(self._frames.size) > _MAX_SIDE[format_]:
                continue
            if format_ == "jpeg" and (animated or (self._frames.has_alpha and not only_jpeg)):
                continue
            yield from (self._way(format_, each) for each in self._methods(format_, animated=animated))

    def _methods(self, format_: ConvertFormat, *, animated: bool) -> Iterator[Method]:
        spec = self._spec
        if format_ != "png" and not spec.lossless:
            yield "lossy"
        # Drawings are often smaller without loss; a picture asked for as such with a quality isn't.
        if format_ == "png" or (format_ == "webp" and spec.quality is None):
            yield "lossless"
        # Who asks for PNG and nothing else doesn't expect his colours to change.
        asked = spec.format == "auto" or spec.target_quality is not None or spec.target_bytes is not None
        if format_ == "png" and asked and not spec.lossless and not animated:
            yield "palette"

    def _way(self, format_: ConvertFormat, method: Method) -> Way:
        spec = self._spec
        chroma = self._chroma if method == "lossy" else "4:4:4"
        return Way(format_, method, spec.effort, chroma, spec.progressive, exact=spec.lossless)

    def _whole(self, way: Way, quality: int, tries: int = 1) -> _Made:
        """Made in one go."""
        return self._made(way, attempts(way, self._frames, self._judge)(quality), tries)

    def _made(self, way: Way, tried: Try, tries: int, note: str = "") -> _Made:
        row = Candidate(
            format=way.format,
            method=way.method,
            quality=tried.quality if way.method == "lossy" else None,
            ssimulacra2=round(tried.score, 2),
            size_bytes=len(tried.data),
            tries=tries,
            note=note,
        )
        return _Made(way, row, tried.data, len(tried.data))

    def _looking(self, ways: list[Way], goal: float) -> Iterator[_Made]:
        """The least of each that reaches ``goal``; only what is near the smallest on samples is made whole."""
        found = [self._sampled(way, goal) for way in ways if way.method == "lossy"]
        found += self._without_loss([way for way in ways if way.method != "lossy"], found, goal)
        tried = [each for each in found if each.row.tries]
        good = [each for each in tried if each.score >= goal - _SHORT] or tried
        least = min(each.sampled_bytes for each in good)
        for each in found:
            if not each.row.tries:
                yield each
            elif self._judge.samples.whole:
                yield replace(each, row=each.row.model_copy(update={"note": _note(each, goal)}))
            elif each not in good or each.sampled_bytes > least * _NEAR * self._looser:
                larger = f"{each.sampled_bytes / least - 1:+.0%} bytes on samples"
                note = _note(each, goal) or larger
                row = each.row.model_copy(update={"size_bytes": None, "note": note})
                yield replace(each, row=row, data=None)
            else:
                yield self._finished(each, goal)

    def _without_loss(self, ways: list[Way], lossy: list[_Made], goal: float) -> Iterator[_Made]:
        """Ways without loss, and palettes, on samples; those that have no hope beside the smallest are left out."""
        least = min((each.sampled_bytes for each in lossy if each.score >= goal - _SHORT), default=None)
        for way in ways:
            if least is None or self._quick <= least * _HOPE[way.format, way.method] * self._looser:
                yield self._sampled(way, goal)
            else:
                note = f"a quick PNG has {self._quick / least:.1f} times the bytes of the smallest"
                yield _Made(way, Candidate(format=way.format, method=way.method, note=note))

    def _without_hope(self, way: Way, own: _Made | None) -> _Made | None:
        """Of a photograph that was a JPEG, PNG and WebP without loss have several times the bytes."""
        if own is None or own.row.format != "jpeg" or way.method == "lossy":
            return None
        ratio = self._quick / (_size(own) * self._judge.share)
        if ratio <= _HOPE[way.format, way.method]:
            return None
        note = f"a quick PNG has {ratio:.1f} times the source's bytes"
        return _Made(way, Candidate(format=way.format, method=way.method, note=note))

    @property
    def _looser(self) -> float:
        return 1.0 if self._frames.timing is None else _MOVING

    @cached_property
    def _quick(self) -> int:
        """Bytes of a PNG of the samples."""
        return len(Way("png", "lossless", "fast").encoded((self._judge.sampled,), 100))

    def _sampled(self, way: Way, goal: float) -> _Made:
        """On samples; where they are the whole picture, it's the file."""
        attempt = sample_attempts(way, self._judge)
        if way.method != "lossy":
            return self._made(way, attempt(100), 1)
        tried, tries = least_that_looks(attempt, goal, start_for(way, goal), QUALITY_TRIES, _SLACK)
        return self._made(way, tried, tries)

    def _finished(self, found: _Made, goal: float) -> _Made:
        """The whole of what was found on samples; the quality is moved where it doesn't look alike there."""
        way, tries = found.way, found.row.tries
        if way.method != "lossy":
            return self._whole(way, 100, tries + 1)
        attempt = attempts(way, self._frames, self._judge)
        start = found.row.quality or start_for(way, goal)
        tried, more = least_that_looks(attempt, goal, start, _WHOLE_TRIES, _WHOLE_SLACK)
        made = self._made(way, tried, tries + more)
        return replace(made, row=made.row.model_copy(update={"note": _note(made, goal)}))

    def _fitting(self, ways: list[Way], limit: int) -> Iterator[_Made]:
        """The best of each that fits; of a large picture only of those that look best on samples."""
        found: list[tuple[Way, int, float]] = []
        for way in ways:
            start, score = (start_for(way, 80) if way.method == "lossy" else 100), 0.0
            if not self._judge.samples.whole and way.method == "lossy":
                start, score = self._guess(way, round(limit * self._judge.share))
            found.append((way, start, score))
        most = max((score for way, _, score in found if way.method == "lossy"), default=0.0)
        made: list[_Made] = []
        least: tuple[int, str] | None = None
        for way, start, score in found:
            if way.method == "lossy" and score < most - 2:
                row = Candidate(format=way.format, method=way.method, quality=start, ssimulacra2=round(score, 2))
                yield _Made(way, row.model_copy(update={"tries": 3, "note": "looks worse on samples"}))
                continue
            each = self._fitted(way, start, limit)
            size = _size(each)
            if size > limit:
                this = (size, f"{way.format} ({way.method})")
                least = this if least is None else min(least, this)
                row = each.row.model_copy(update={"note": "doesn't fit"})
                yield replace(each, row=row, data=None)
                continue
            made.append(each)
            yield each
        if not made:
            assert least is not None
            raise _too_small(limit, *least)

    def _guess(self, way: Way, limit: int) -> tuple[int, float]:
        attempt = sample_attempts(way, self._judge)
        sampled = self._judge.sampled
        quality, data, _ = largest_that_fits(lambda each: way.encoded((sampled,), each), limit, start_for(way, 80), 5)
        return quality or 1, self._judge.score_of_samples(data) if quality else attempt(1).score

    def _fitted(self, way: Way, start: int, limit: int) -> _Made:
        frames = self._frames
        if way.method != "lossy":
            return self._whole(way, 100)
        quality, data, tries = largest_that_fits(
            lambda each: way.encoded(frames.arrays, each, frames.timing), limit, start, BYTES_TRIES
        )
        return self._made(way, Try(quality or 1, data, self._judge.score(data)), tries)


def _size(made: _Made) -> int:
    assert made.data is not None
    return len(made.data)


def _mark(made: list[_Made], best: _Made) -> list[_Made]:
    return [replace(each, row=each.row.model_copy(update={"chosen": True})) if each is best else each for each in made]


def _note(made: _Made, goal: float) -> str:
    return "" if made.score >= goal - _SHORT else f"doesn't reach {goal:g}"


def _too_small(limit: int, least: int, what: str) -> ParamsError:
    return ParamsError(
        f"It doesn't fit into {limit} bytes: the least is {least}, as {what}. A max_size makes it smaller.",
        least_bytes=least,
    )


def _is_progressive(data: bytes, format_: ConvertFormat) -> bool:
    if format_ != "jpeg":
        return False
    try:
        with open_image(data, "The file") as image:
            return bool(image.info.get("progressive"))
    except MediaError as error:
        raise EncodeError(f"What was written doesn't open: {error.message}") from error


def _warnings(frames: Frames, best: _Made, spec: ConvertSpec, bits: int) -> tuple[str, ...]:
    warnings = list(frames.warnings)
    if frames.timing is not None and frames.timing.plays and best.row.format == "avif":
        warnings.append("AVIF plays it for ever; the source ends after a while.")
    if spec.chroma == "4:4:4" and best.row.format == "webp" and best.row.method == "lossy":
        warnings.append("WebP has colour at half the resolution only.")
    if spec.depth == "keep" and frames.info.bits > bits:
        warnings.append(f"Its {frames.info.bits} bits a channel can't be kept; it has {bits}.")
    if frames.info.gain_map:
        warnings.append("Its gain map (HDR) is left out.")
    return tuple(warnings)
