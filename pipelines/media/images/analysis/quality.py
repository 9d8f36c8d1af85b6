"""Judge a picture by its measures: a score, and what is wrong with it."""

import math
from collections.abc import Callable

from pipelines.media.images.analysis.analysis_spec import Issue, IssueCode, Measures, Part, PartName, Quality
from pipelines.media.images.info import ImageInfo

# Between the two of a pair, a part goes from 0 to 100. All were chosen on photographs, as they came and spoilt by a
# known amount; what each stands for is beside it.
_BLUR = (0.72, 0.30)  # of Crete's: photographs are at 0.15 to 0.3 as they come, at 0.45 to 0.7 blurred by 2 pixels
_DARK = (8.0, 38.0)  # CIE L*: 38 is a stop under middle grey, 8 four
_BRIGHT = (97.0, 72.0)  # CIE L*: a stop over middle grey, and nearly white
_CLIPPED = (0.5, 0.02)  # share of pixels that are black or blown out; a lamp or the sun is in nearly any picture
_RANGE = (0.2, 0.7)  # of luma, between the 1st and 99th percentile: fog, and any picture with a black and a white
_RMS = (0.03, 0.14)  # of luma: as range, for what lies between
_NOISE = (14.0, 1.5)  # levels at screen size: snow, and what nobody sees
_CAST = (40.0, 8.0)  # CIE Lab: as by candle light, and what an evening does
_PIXELS = (20_000.0, 2_000_000.0)  # an icon, and a screen's worth

# Sharpness and exposure are what people mind most, and what can least be mended.
_WEIGHTS: dict[PartName, float] = {
    "sharpness": 0.3,
    "exposure": 0.25,
    "contrast": 0.15,
    "noise": 0.15,
    "resolution": 0.1,
    "colour": 0.05,
}

# From where on something is an issue: minor, and major.
TOO_DARK = (32.0, 20.0)  # CIE L*: one and a half, and two and a half stops under middle grey
TOO_BRIGHT = (80.0, 88.0)  # CIE L*: one and a half, and two stops over it
_SHADOWS = (0.15, 0.4)  # share of pixels; black frames and night skies are common, so it takes more than below
_HIGHLIGHTS = (0.05, 0.25)  # share of pixels
_LOW_RANGE = (0.5, 0.3)
_COLOUR_CAST = (10.0, 20.0)  # CIE Lab: 2.3 can just be told apart side by side (Mahy 1994); eyes adapt to four times it
_NOISY = (4.0, 9.0)  # levels at screen size
BLURRED = (0.45, 0.6)
_FEW_PIXELS = (300_000, 60_000)  # below 640x480, and below 300x200
_BLANK = 0.01  # of luma, between the 1st and 99th percentile: two levels of 255


def quality_of(measures: Measures, info: ImageInfo) -> Quality:
    """0 to 100, of parts from 0 to 100.

    The score is the parts' weighted geometric mean, so that one bad part isn't made good by the others. It is a rule
    of thumb to sort pictures by, fitted to no ratings by people.
    """
    exposure, contrast = measures.exposure, measures.contrast
    light = min(
        _ramp(max(exposure.lightness, exposure.midtones), _DARK),
        _ramp(min(exposure.lightness, exposure.midtones), _BRIGHT),
    )
    scores: dict[PartName, float] = {
        "sharpness": 0.0 if measures.sharpness.blur is None else _ramp(measures.sharpness.blur, _BLUR),
        "exposure": light * (0.5 + _ramp(exposure.shadows + exposure.highlights, _CLIPPED) / 200),
        "contrast": (_ramp(contrast.range, _RANGE) + _ramp(contrast.rms, _RMS)) / 2,
        "noise": _ramp(measures.noise.seen, _NOISE),
        "resolution": _ramp(math.log(info.width * info.height), (math.log(_PIXELS[0]), math.log(_PIXELS[1]))),
        "colour": _ramp(measures.cast.strength, _CAST),
    }
    parts = tuple(Part(name=name, score=round(scores[name], 1), weight=weight) for name, weight in _WEIGHTS.items())
    score = math.prod(max(1.0, part.score) ** part.weight for part in parts)
    return Quality(score=round(score, 1), parts=parts)


def _ramp(value: float, ends: tuple[float, float]) -> float:
    """0 at the first of ``ends`` and beyond, 100 at the second and beyond."""
    return 100 * min(1.0, max(0.0, (value - ends[0]) / (ends[1] - ends[0])))


def issues_of(measures: Measures, info: ImageInfo) -> tuple[Issue, ...]:
    """What is wrong, the worst first."""
    if measures.contrast.range < _BLANK:
        message = "Blank: there is nothing to see but one colour; check that it's the right file."
        return (Issue(code="blank", severity="major", message=message),)
    found = [issue for find in _FINDERS for issue in find(measures, info)]
    return tuple(sorted(found, key=lambda issue: issue.severity != "major"))


def _issue(code: IssueCode, value: float, bounds: tuple[float, float], message: str) -> list[Issue]:
    """Beyond the first of ``bounds`` it's minor, beyond the second major; either may be the larger."""
    sign = 1 if bounds[1] > bounds[0] else -1
    if sign * value <= sign * bounds[0]:
        return []
    severity = "major" if sign * value > sign * bounds[1] else "minor"
    return [Issue.model_validate({"code": code, "severity": severity, "message": message})]


def _dark(measures: Measures, _info: ImageInfo) -> list[Issue]:
    lightness = max(measures.exposure.lightness, measures.exposure.midtones)
    message = (
        f"Too dark: its mean lightness is {lightness:.0f} of 100, where pictures have about 50; "
        "image-enhance with auto, or gamma above 1, lifts it."
    )
    return _issue("too_dark", lightness, TOO_DARK, message)


def _bright(measures: Measures, _info: ImageInfo) -> list[Issue]:
    lightness = min(measures.exposure.lightness, measures.exposure.midtones)
    message = (
        f"Too bright: its mean lightness is {lightness:.0f} of 100, where pictures have about 50; "
        "image-enhance with auto, or gamma below 1, lowers it."
    )
    return _issue("too_bright", lightness, TOO_BRIGHT, message)


def _shadows(measures: Measures, _info: ImageInfo) -> list[Issue]:
    share = measures.exposure.shadows
    message = (
        f"{share:.0%} of it is black: nothing is left in these shadows that could be lifted. "
        "Expose longer, or take the original if this is a copy; a black background is no fault."
    )
    return _issue("shadows_clipped", share, _SHADOWS, message)


def _highlights(measures: Measures, _info: ImageInfo) -> list[Issue]:
    share = measures.exposure.highlights
    message = (
        f"{share:.0%} of it is blown out to white: nothing is left there that could be brought back. "
        "Expose shorter, or take the original if this is a copy; a white background is no fault."
    )
    return _issue("highlights_clipped", share, _HIGHLIGHTS, message)


def _flat(measures: Measures, _info: ImageInfo) -> list[Issue]:
    reach = measures.contrast.range
    message = (
        f"Little contrast: it uses {reach:.0%} of the range from black to white; "
        "image-enhance with auto or auto_levels stretches it."
    )
    return _issue("low_contrast", reach, _LOW_RANGE, message)


def _tinted(measures: Measures, _info: ImageInfo) -> list[Issue]:
    cast = measures.cast
    message = (
        f"A cast to {cast.direction}: even its brightest parts are tinted ({cast.strength:.0f} in CIE Lab); "
        "image-enhance with auto or white_balance takes it away, unless it's meant."
    )
    return _issue("colour_cast", cast.strength, _COLOUR_CAST, message)


def _noisy(measures: Measures, _info: ImageInfo) -> list[Issue]:
    noise = measures.noise
    message = (
        f"Noisy: levels vary by {noise.sigma:.1f} of 255 from pixel to pixel, {noise.seen:.1f} as seen on a screen; "
        "image-enhance with auto or denoise smooths it."
    )
    return _issue("noisy", noise.seen, _NOISY, message)


def _blurred(measures: Measures, _info: ImageInfo) -> list[Issue]:
    blur = measures.sharpness.blur
    if blur is None:
        return []
    message = (
        f"Blurred: {blur:.2f} from 0 (sharp) to 1, as seen on a screen; image-enhance with auto or sharpen helps "
        "where it's slight. What was out of focus stays so: take another picture if you can."
    )
    return _issue("blurred", blur, BLURRED, message)


def _small(_measures: Measures, info: ImageInfo) -> list[Issue]:
    message = f"Small: {info.width}x{info.height} pixels fill no screen; look for the original if this is a copy."
    return _issue("low_resolution", info.width * info.height, _FEW_PIXELS, message)


_FINDERS: tuple[Callable[[Measures, ImageInfo], list[Issue]], ...] = (
    _blurred,
    _dark,
    _bright,
    _flat,
    _noisy,
    _tinted,
    _highlights,
    _shadows,
    _small,
)
