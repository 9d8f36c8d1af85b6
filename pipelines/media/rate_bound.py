"""Whether a picture keeps to the bound of its bit rate: encoders do from second to second, and each chunk anew."""

from pipelines.media.mux import Writer
from pipelines.media.plan import TranscodePlan

_BITS = 8
_KILO = 1000


def above_bound(plan: TranscodePlan, picture: Writer) -> tuple[str, ...]:
    """The warning that goes with an encoded picture whose mean bit rate is above ``max_bitrate``.

    Every encoder may begin with what its buffer holds, two seconds at the bound (``encoding``).
    """
    assert plan.video is not None
    assert plan.video.video is not None
    settings = plan.video.video.settings
    bound_bps = settings.max_bitrate
    length_s = picture.end_s - (picture.begin_s or 0.0)
    if bound_bps is None or length_s <= 0:
        return ()
    mean_bps = picture.size_bytes * _BITS / length_s
    if mean_bps <= bound_bps:
        return ()
    if settings.codec == "h264" and settings.crf == 0:
        return (f"The picture is above the bound of {bound_bps / _KILO:.0f} kbit/s: it is encoded without loss.",)
    told = f"The picture has {mean_bps / _KILO:.0f} kbit/s on average, above the bound of {bound_bps / _KILO:.0f}"
    if plan.method != "chunk":
        return (f"{told}: it is too short to make up for what its encoder may begin with.",)
    return (f"{told}: each of its chunks may begin above it. Set chunk_s to 3600 to encode it in one piece.",)
