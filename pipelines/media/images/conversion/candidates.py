"""The files that a picture may become: each way that is allowed is tried, as far as it has hope."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial

from pipelines.media.errors import LimitError, ParamsError
from pipelines.media.images.conversion.convert_spec import (
    BYTES_TRIES,
    QUALITY_TRIES,
    Candidate,
    Chroma,
    ConvertFormat,
    ConvertSpec,
)
from pipelines.media.images.conversion.encoders import Method, Way
from pipelines.media.images.conversion.frames import Frames
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
from pipelines.media.images.encode import FULL_CHROMA_QUALITY, MAX_SIDES
from pipelines.media.images.metadata.carried import Carried

_NEAR = 1.2  # of the samples' bytes of the best: what is larger isn't made whole
_MOVING = 4.0  # times as much for animations: what frames have in common isn't seen on samples
# How much larger a PNG made quickly may be for each to be tried: a PNG with more effort has 0.7 to 1 of its bytes,
# WebP without loss 0.5 to 0.8, a palette 0.2 to 0.4.
_HOPE = {("png", "lossless"): 1.5, ("webp", "lossless"): 2.0, ("png", "palette"): 4.0}
NEAR_ENOUGH = 0.5  # of SSIMULACRA2: nobody sees it
_SLACK, _WHOLE_SLACK, _WHOLE_TRIES = 0.7, 1.5, 3


@dataclass(frozen=True)
class Made:
    """A candidate, and its whole file, metadata in it, if there is one.

    ``sampled_bytes`` are of the samples, ``bits`` of a channel.
    """

    way: Way
    row: Candidate
    data: bytes | None = None
    sampled_bytes: int = 0
    bits: int = 8

    @property
    def score(self) -> float:
        return self.row.ssimulacra2 if self.row.ssimulacra2 is not None else 0.0


class Candidates:
    """Makes the candidates for one picture. ``along`` are the metadata that its file gets."""

    def __init__(self, frames: Frames, spec: ConvertSpec, name: str, along: Carried) -> None:
        self._frames, self._spec, self._name, self._along = frames, spec, name, along
        self._judge = Judge(frames)

    def tried(self, own: Made | None) -> Iterator[Made]:
        """All that were tried."""
        if own is not None:
            yield own
        if own is not None and self._spec.target_bytes is not None and size_of(own) <= self._spec.target_bytes:
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

    def _refuse(self) -> None:
        why = [reason for format_ in self._spec.allowed if (reason := self._unfit(format_))]
        if len(why) < len(self._spec.allowed):
            raise ParamsError(
                f"{self._name} can't become JPEG without loss: only a JPEG file that is upright, in sRGB and not "
                "scaled can. PNG and WebP can.",
                formats="png,webp",
            )
        width, height = self._frames.size
        raise LimitError(f"{self._name} can't be written as asked: {'; '.join(why)}.", width=width, height=height)

    def _unfit(self, format_: ConvertFormat) -> str | None:
        """Why the picture can't be of a format at all."""
        width, height = self._frames.size
        if max(width, height) > MAX_SIDES[format_]:
            return f"{format_} holds at most {MAX_SIDES[format_]} pixels a side, and it has {width}x{height}"
        if format_ == "jpeg" and self._frames.timing is not None:
            return "jpeg holds no animation"
        if format_ == "jpeg" and self._frames.has_alpha and self._spec.allowed != ("jpeg",):
            return "jpeg holds no transparency"
        return None

    @cached_property
    def _chroma(self) -> Chroma:
        spec = self._spec
        if spec.chroma != "auto":
            return spec.chroma
        high = (spec.quality or 0) >= FULL_CHROMA_QUALITY or (spec.goal or 0) >= FULL_CHROMA_FROM
        return "4:4:4" if high or has_fine_colour(self._judge) else "4:2:0"

    def _ways(self) -> Iterator[Way]:
        """Ways that the picture and the spec allow."""
        animated = self._frames.timing is not None
        for format_ in self._spec.allowed:
            if self._unfit(format_) is None:
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

    def _whole(self, way: Way, quality: int, tries: int = 1) -> Made:
        """Made in one go."""
        return self._made(way, self._attempt(way)(quality), tries)

    def _attempt(self, way: Way) -> Callable[[int], Try]:
        return attempts(partial(self._file, way), self._judge)

    def _file(self, way: Way, quality: int) -> bytes:
        """The whole file."""
        data = way.encoded(self._frames.arrays, quality, self._frames.timing)
        return self._along.within(data, way.format, self._frames.size)

    def _made(self, way: Way, tried: Try, tries: int, note: str = "") -> Made:
        row = Candidate(
            format=way.format,
            method=way.method,
            quality=tried.quality if way.method == "lossy" else None,
            ssimulacra2=round(tried.score, 2),
            size_bytes=len(tried.data),
            tries=tries,
            note=note,
        )
        return Made(way, row, tried.data, len(tried.data))

    def _looking(self, ways: list[Way], goal: float) -> Iterator[Made]:
        """The least of each that reaches ``goal``; only what is near the smallest on samples is made whole."""
        found = [self._sampled(way, goal) for way in ways if way.method == "lossy"]
        found += self._without_loss([way for way in ways if way.method != "lossy"], found, goal)
        tried = [each for each in found if each.row.tries]
        good = [each for each in tried if each.score >= goal - NEAR_ENOUGH] or tried
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

    def _without_loss(self, ways: list[Way], lossy: list[Made], goal: float) -> Iterator[Made]:
        """Ways without loss, and palettes, on samples; those that have no hope beside the smallest are left out."""
        least = min((each.sampled_bytes for each in lossy if each.score >= goal - NEAR_ENOUGH), default=None)
        for way in ways:
            if least is None or self._quick <= least * _HOPE[way.format, way.method] * self._looser:
                yield self._sampled(way, goal)
            else:
                note = f"a quick PNG has {self._quick / least:.1f} times the bytes of the smallest"
                yield Made(way, Candidate(format=way.format, method=way.method, note=note))

    def _without_hope(self, way: Way, own: Made | None) -> Made | None:
        """Of a photograph that was a JPEG, PNG and WebP without loss have several times the bytes."""
        if own is None or own.row.format != "jpeg" or way.method == "lossy":
            return None
        ratio = self._quick / (size_of(own) * self._judge.share)
        if ratio <= _HOPE[way.format, way.method]:
            return None
        note = f"a quick PNG has {ratio:.1f} times the source's bytes"
        return Made(way, Candidate(format=way.format, method=way.method, note=note))

    @property
    def _looser(self) -> float:
        return 1.0 if self._frames.timing is None else _MOVING

    @cached_property
    def _quick(self) -> int:
        """Bytes of a PNG of the samples."""
        return len(Way("png", "lossless", "fast").encoded((self._judge.sampled,), 100))

    def _sampled(self, way: Way, goal: float) -> Made:
        """On samples; where they are the whole picture, it's the file."""
        attempt = self._attempt(way) if self._judge.samples.whole else sample_attempts(way, self._judge)
        if way.method != "lossy":
            return self._made(way, attempt(100), 1)
        tried, tries = least_that_looks(attempt, goal, start_for(way, goal), QUALITY_TRIES, _SLACK)
        return self._made(way, tried, tries)

    def _finished(self, found: Made, goal: float) -> Made:
        """The whole of what was found on samples; the quality is moved where it doesn't look alike there."""
        way, tries = found.way, found.row.tries
        if way.method != "lossy":
            return self._whole(way, 100, tries + 1)
        attempt = self._attempt(way)
        start = found.row.quality or start_for(way, goal)
        tried, more = least_that_looks(attempt, goal, start, _WHOLE_TRIES, _WHOLE_SLACK)
        made = self._made(way, tried, tries + more)
        return replace(made, row=made.row.model_copy(update={"note": _note(made, goal)}))

    def _fitting(self, ways: list[Way], limit: int) -> Iterator[Made]:
        """The best of each that fits; of a large picture only of those that look best on samples."""
        found: list[tuple[Way, int, float]] = []
        for way in ways:
            start, score = (start_for(way, 80) if way.method == "lossy" else 100), 0.0
            if not self._judge.samples.whole and way.method == "lossy":
                start, score = self._guess(way, round((limit - self._along.size_bytes) * self._judge.share))
            found.append((way, start, score))
        most = max((score for way, _, score in found if way.method == "lossy"), default=0.0)
        made: list[Made] = []
        least: tuple[int, str] | None = None
        for way, start, score in found:
            if way.method == "lossy" and score < most - 2:
                row = Candidate(format=way.format, method=way.method, quality=start, ssimulacra2=round(score, 2))
                yield Made(way, row.model_copy(update={"tries": 3, "note": "looks worse on samples"}))
                continue
            each = self._fitted(way, start, limit)
            size = size_of(each)
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
            raise too_small(limit, *least)

    def _guess(self, way: Way, limit: int) -> tuple[int, float]:
        attempt = sample_attempts(way, self._judge)
        sampled = self._judge.sampled
        quality, data, _ = largest_that_fits(lambda each: way.encoded((sampled,), each), limit, start_for(way, 80), 5)
        return quality or 1, self._judge.score_of_samples(data) if quality else attempt(1).score

    def _fitted(self, way: Way, start: int, limit: int) -> Made:
        if way.method != "lossy":
            return self._whole(way, 100)
        quality, data, tries = largest_that_fits(partial(self._file, way), limit, start, BYTES_TRIES)
        return self._made(way, Try(quality or 1, data, self._judge.score(data)), tries)


def size_of(made: Made) -> int:
    assert made.data is not None
    return len(made.data)


def _note(made: Made, goal: float) -> str:
    return "" if made.score >= goal - NEAR_ENOUGH else f"doesn't reach {goal:g}"


def too_small(limit: int, least: int, what: str) -> ParamsError:
    """What to raise where ``limit`` bytes are less than the ``least`` that are needed."""
    return ParamsError(
        f"It doesn't fit into {limit} bytes: the least is {least}, as {what}. A max_size makes it smaller.",
        least_bytes=least,
    )
