"""How thoroughly to validate, and the parts that are decoded apart. The values that travel."""

from pydantic import BaseModel, Field

from pipelines.media.parts import Part
from pipelines.media.validation.report import Checked, Level

QUICK_BYTES = 1 << 30  # of a larger file a quick look reads as much as this, and the end


class ValidationSpec(BaseModel, frozen=True, extra="forbid"):
    """``hashes`` go with a full validation only."""

    level: Level = Field(
        "full",
        description="full decodes every frame; quick reads the container and all packets, and decodes the first and "
        "last frames.",
    )
    hashes: bool = Field(
        False,
        description="Keep a digest of every frame, as a Parquet file, to find later rot for certain; level full only.",
    )


class ValidationPlan(BaseModel, frozen=True, extra="forbid"):
    """What was found without decoding, and the parts to decode. ``reason``: why the picture is cut as it is."""

    looked: Checked
    parts: tuple[Part, ...]
    packets_read: bool
    reason: str
