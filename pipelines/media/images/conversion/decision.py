"""Which of the files that were tried a picture becomes, and why."""

from dataclasses import replace

from pipelines.media.images.conversion.candidates import NEAR_ENOUGH, Made, size_of
from pipelines.media.images.conversion.convert_spec import ConvertSpec

_SAVES = 0.98


def decided(made: list[Made], spec: ConvertSpec) -> tuple[list[Made], str]:
    """The candidates with the chosen one marked, and why it is."""
    own = next((each for each in made if each.row.method == "kept"), None)
    whole = [each for each in made if each.data is not None and each is not own]
    if own is not None and spec.target_bytes is not None and size_of(own) <= spec.target_bytes:
        return _marked(made, own), "The source's compressed pixels fit as they are."
    if spec.target_bytes is not None:
        best = max(whole, key=lambda each: (round(each.score, 1), -size_of(each)))
        return _marked(made, best), "Looks the most like the source of what fits."
    goal = spec.goal
    good = [each for each in whole if goal is None or each.score >= goal - NEAR_ENOUGH]
    if own is not None and (not good or min(map(size_of, good)) > size_of(own) * _SAVES):
        return _marked(made, own), "Nothing else saves 2 % over the source's compressed pixels."
    if good:
        best = min(good, key=size_of)
        why = "The smallest" if len(made) > 1 else "The only one asked for"
        return _marked(made, best), f"{why}{f' that reaches {goal:g}' if goal is not None else ''}."
    best = max(whole, key=lambda each: (each.score, -size_of(each)))
    return _marked(made, best), f"None reaches {goal:g}; this comes nearest."


def _marked(made: list[Made], best: Made) -> list[Made]:
    return [replace(each, row=each.row.model_copy(update={"chosen": True})) if each is best else each for each in made]
