"""How a full validation is cut into parts that are decoded apart. The values that travel. Pure."""

from pydantic import BaseModel

from pipelines.media.parts import Part
from pipelines.media.validation.report import Checked


class ValidationPlan(BaseModel, frozen=True, extra="forbid"):
    """What was found without decoding, and the parts to decode. ``reason``: why the picture is cut as it is."""

    looked: Checked
    parts: tuple[Part, ...]
    packets_read: bool
    reason: str
