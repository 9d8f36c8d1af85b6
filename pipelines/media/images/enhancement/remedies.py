"""Choose what to do about what is wrong with a picture, and tell why something is left."""

import math

from pipelines.media.images.analysis.analysis_spec import Issue, IssueCode, Measures
from pipelines.media.images.analysis.measures import Sample
from pipelines.media.images.analysis.quality import BLURRED, TOO_BRIGHT, TOO_DARK
from pipelines.media.images.enhancement.detail import NOISE_OF_ALL
from pipelines.media.images.enhancement.enhance_spec import Left, Step, StepName
from pipelines.media.images.enhancement.tones import curves_of, toned
from pipelines.media.images.srgb import lab_of

_MOST_DENOISE = 0.6  # beyond, skin turns to wax
_BALANCE = 0.8  # an evening keeps some of its colour
_LOCAL_CONTRAST = 0.4
_DARK_TO, _BRIGHT_TO = 45.0, 65.0  # CIE L*: near the middle, but what is dark stays darker than most
_MOST_GAMMA, _LEAST_GAMMA = 2.5, 0.5  # beyond, noise and bands come up with the rest
_SHARPEN = (0.3, 0.8)  # of a picture just blurred, and of one that is beyond mending
_AGAINST: dict[IssueCode, StepName] = {
    "noisy": "denoise",
    "colour_cast": "white_balance",
    "low_contrast": "auto_levels",
    "too_dark": "gamma",
    "too_bright": "gamma",
    "blurred": "sharpen",
}
_LOST: dict[IssueCode, str] = {
    "shadows_clipped": "nothing is left in what is black",
    "highlights_clipped": "nothing is left in what is blown out",
    "low_resolution": "detail that it hasn't can't be made up",
    "blank": "there is nothing to see in it",
}


def remedies(measures: Measures, issues: tuple[Issue, ...], sample: Sample) -> tuple[Step, ...]:
    """What helps against ``issues``, each with its reason; nothing where nothing helps.

    What is black, blown out, blank or small can't be mended.
    """
    found = {issue.code: issue for issue in issues}
    if "blank" in found:
        return ()
    steps = []
    if "noisy" in found:
        amount = min(_MOST_DENOISE, measures.noise.sigma / NOISE_OF_ALL)
        steps.append(_step("denoise", amount, f"noise of {measures.noise.sigma:.1f} levels"))
    if "colour_cast" in found:
        cast = measures.cast
        steps.append(_step("white_balance", _BALANCE, f"a cast to {cast.direction} of {cast.strength:.0f} in CIE Lab"))
    if "low_contrast" in found:
        reach = f"it used {measures.contrast.range:.0%} of the range from black to white"
        steps.append(_step("auto_levels", 1, reach))
        steps.append(_step("local_contrast", _LOCAL_CONTRAST, reach))
    steps += _gamma(sample, tuple(steps))
    if "blurred" in found and measures.sharpness.blur is not None and "noisy" not in found:
        beyond = min(1.0, (measures.sharpness.blur - BLURRED[0]) / (BLURRED[1] - BLURRED[0]))
        amount = _SHARPEN[0] + beyond * (_SHARPEN[1] - _SHARPEN[0])
        steps.append(_step("sharpen", amount, f"a blur of {measures.sharpness.blur:.2f} of 1"))
    return tuple(steps)


def left_alone(issues: tuple[Issue, ...], done: tuple[Step, ...], undone: tuple[Step, ...]) -> tuple[Left, ...]:
    """What of ``issues`` stays, and why; ``undone`` are steps that were chosen, and lowered the score."""
    names = {step.name for step in done}
    codes = {issue.code for issue in issues}
    left = []
    for code in (issue.code for issue in issues):
        if code in _LOST:
            left.append(Left(issue=code, why=_LOST[code]))
        elif _AGAINST[code] in names:
            continue
        elif undone:
            steps = ", ".join(step.name for step in undone)
            left.append(Left(issue=code, why=f"with {steps} it would score less; ask for a step to have it done"))
        elif code == "blurred" and "noisy" in codes:
            left.append(Left(issue=code, why="sharpened, its noise would show more; ask for sharpen to have it done"))
    return tuple(left)


def _gamma(sample: Sample, before: tuple[Step, ...]) -> list[Step]:
    """What is too dark or bright still when the steps ``before`` are done: a stretch alone may be enough."""
    levels = toned(sample.rgb, curves_of(sample, before))
    lightness = lab_of(levels)[sample.shown][:, 0]
    inner = lightness[(lightness > 1) & (lightness < 99)]
    means = [float(each.mean(dtype="float64")) for each in (lightness, inner) if len(each)]
    if max(means) < TOO_DARK[0]:
        wanted = math.log(max(max(means), 1) / 100) / math.log(_DARK_TO / 100)
        return [_step("gamma", min(_MOST_GAMMA, wanted), f"a mean lightness of {max(means):.0f} of 100")]
    if min(means) > TOO_BRIGHT[0]:
        wanted = math.log(min(min(means), 99) / 100) / math.log(_BRIGHT_TO / 100)
        return [_step("gamma", max(_LEAST_GAMMA, wanted), f"a mean lightness of {min(means):.0f} of 100")]
    return []


def _step(name: StepName, amount: float, why: str) -> Step:
    return Step(name=name, amount=round(amount, 2), why=why)
