"""Change a picture's tones: steps that act on each channel's levels alone, as one curve, rounded once."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.media.images.analysis.measures import Sample, between, brightest_from
from pipelines.media.images.enhancement.enhance_spec import Step
from pipelines.media.images.srgb import LINEAR, srgb_of

Curves = NDArray[np.float64]  # (3, 256): what each channel's levels become, 0 to 255
STEPS = ("white_balance", "auto_levels", "gamma", "brightness", "contrast")  # in the order they're done

_MOST_GAIN = 2.5  # of a channel of linear light: tungsten under daylight balance needs 2.2; more brings out noise
_CUT = 0.5  # percent at either end that may be cut off when levels are stretched
_MOST_STRETCH = 3.0  # beyond, 8 bits show as bands
_LUMA = np.array([0.299, 0.587, 0.114])


def curves_of(sample: Sample, steps: tuple[Step, ...]) -> Curves:
    """The steps of ``STEPS`` among ``steps``, as a curve a channel, for the picture of which ``sample`` was taken.

    Each step is given the picture as those before leave it.
    """
    curves: Curves = np.tile(np.arange(256, dtype=np.float64), (3, 1))
    amounts = {step.name: step.amount for step in steps}
    if amount := amounts.get("white_balance"):
        curves = _balanced(sample, amount)
    if amounts.get("auto_levels"):
        curves = _stretched(curves, sample)
    if gamma := amounts.get("gamma"):
        curves = 255 * (curves / 255) ** (1 / gamma)
    if brightness := amounts.get("brightness"):
        curves = np.clip(curves * brightness, 0, 255)
    if contrast := amounts.get("contrast"):
        middle = float(toned(sample.rgb, curves)[sample.shown].mean(axis=0) @ _LUMA)
        curves = np.clip(middle + contrast * (curves - middle), 0, 255)
    return curves


def toned(picture: NDArray[np.uint8], curves: Curves) -> NDArray[np.uint8]:
    """``picture`` (height, width, 1 or 3) with its levels as ``curves`` say; grey goes by the first."""
    table = np.clip(curves + 0.5, 0, 255).astype(np.uint8).T[None, :, : picture.shape[2]]
    made = cv2.LUT(np.ascontiguousarray(picture), np.ascontiguousarray(table))
    return np.asarray(made, np.uint8).reshape(picture.shape)


def _balanced(sample: Sample, amount: float) -> Curves:
    """White patch: what is brightest is taken to be white (Land and McCann 1971), and made grey (von Kries 1902).

    The brightest are those by which ``measures.cast_of`` finds a cast, so that it finds none afterwards. Each channel
    of linear light is multiplied; none is made less, so that what is blown out stays white.
    """
    told = between(sample)
    if not told.any():
        told = sample.shown
    lightness = sample.lab[told][:, 0]
    bright = sample.rgb[told][lightness >= brightest_from(lightness)]
    light = np.maximum(LINEAR[bright].mean(axis=0), 1e-4)
    gains = np.minimum(light.max() / light, _MOST_GAIN) ** amount
    return srgb_of(LINEAR[None, :] * gains[:, None]) * 255


def _stretched(curves: Curves, sample: Sample) -> Curves:
    """From the darkest to the lightest level of any channel, but for half a percent; all alike, so that hues stay."""
    shown = toned(sample.rgb, curves)[sample.shown]
    low = float(np.percentile(shown, _CUT, axis=0).min())
    high = float(np.percentile(shown, 100 - _CUT, axis=0).max())
    if high - low < (least := 255 / _MOST_STRETCH):
        low = min(max(0.0, (low + high - least) / 2), 255 - least)
        high = low + least
    return np.clip((curves - low) * (255 / (high - low)), 0, 255)
