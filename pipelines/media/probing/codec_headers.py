"""What a codec's own header says, and what its name implies, beside the fields that PyAV shows."""

import re
from dataclasses import dataclass

import av
from av.audio.codeccontext import AudioCodecContext
from av.bitstream import BitStreamFilterContext
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from pipelines.media.libav_log import talkative
from pipelines.media.limits import MAX_PIXELS
from pipelines.media.nal_units import length_bytes_of

_SYNTAX_ELEMENT = re.compile(r"^\d+ +(\w+) +[01]* = (-?\d+)$", re.MULTILINE)
_MAX_TRACED_BYTES = 8192  # a line of text for each few bits
_MACROBLOCK = 16
_PCM_BITS = re.compile(r"pcm_[sufb][a-z]*(8|16|20|24|32|64)")
_EIGHT_BIT = frozenset({"pcm_alaw", "pcm_mulaw", "pcm_vidc", "pcm_sga"})
_FOUR_BIT = frozenset(
    {
        "adpcm_ct", "adpcm_ima_apc", "adpcm_ima_ea_sead", "adpcm_ima_oki", "adpcm_ima_ws", "adpcm_ima_ssi",
        "adpcm_ima_apm", "adpcm_ima_alp", "adpcm_g722", "adpcm_yamaha", "adpcm_aica", "adpcm_sbpro_4",
        "adpcm_ima_wav", "adpcm_ima_qt", "adpcm_swf", "adpcm_ms",
    }
)  # fmt: skip

# Where libav names the decoder, which is what PyAV tells, otherwise than the codec.
_LONG_NAMES = {
    "ass": "ASS (Advanced SSA) subtitle",
    "dfpwm": "DFPWM (Dynamic Filter Pulse Width Modulation)",
    "dirac": "Dirac",
    "dst": "DST (Direct Stream Transfer)",
    "dvaudio": "DV audio",
    "eia_608": "EIA-608 closed captions",
    "gif": "CompuServe GIF (Graphics Interchange Format)",
    "h263p": "H.263+ / H.263-1998 / H.263 version 2",
    "hevc": "H.265 / HEVC (High Efficiency Video Coding)",
    "huffyuv": "HuffYUV",
    "mjpeg": "Motion JPEG",
    "mov_text": "MOV text",
    "opus": "Opus (Opus Interactive Audio Codec)",
    "qdmc": "QDesign Music",
    "sanm": "LucasArts SANM/SMUSH video",
    "smvjpeg": "Sigmatel Motion Video",
    "text": "raw UTF-8 text",
    "vvc": "H.266 / VVC (Versatile Video Coding)",
    "webp": "WebP",
}


def long_name_of(context: CodecContext) -> str:
    """The full name that libav has for the codec."""
    name = context.codec.canonical_name
    try:
        return _LONG_NAMES.get(name) or av.Codec(name, "r").long_name
    except ValueError:  # only decoders of other names read it
        return context.codec.long_name


@dataclass(frozen=True)
class PictureHeader:
    """What is known before a picture is decoded."""

    coded_width: int | None = None
    coded_height: int | None = None
    reference_frames: int | None = None
    nal_length_bytes: int | None = None
    max_bit_rate_bps: int | None = None


def picture_header(stream: VideoStream) -> PictureHeader:
    """Open the decoder of ``stream``, which reads its header, on one thread."""
    context = stream.codec_context
    _open(context)
    width, height, references = context.coded_width or None, context.coded_height or None, None
    if context.codec.canonical_name == "h264" and (sps := _traced(stream)):
        # The decoder works out the coded size with the first picture only.
        width = (sps["pic_width_in_mbs_minus1"] + 1) * _MACROBLOCK
        height = (sps["pic_height_in_map_units_minus1"] + 1) * (2 - sps["frame_mbs_only_flag"]) * _MACROBLOCK
        references = sps["max_num_ref_frames"]
    length_bytes = length_bytes_of(context.codec.canonical_name, context.extradata or b"")
    return PictureHeader(width, height, references, length_bytes, context.max_bit_rate)


def _open(context: VideoCodecContext) -> None:
    if context.is_open or context.width * context.height > MAX_PIXELS:
        return
    context.thread_type, context.thread_count = "NONE", 1
    try:
        context.open()
    except av.error.FFmpegError:  # its header is damaged; nothing more is known of it
        return


def _traced(stream: VideoStream) -> dict[str, int] | None:
    """The numbers of H.264's sequence parameter set, by their names in the standard (7.3.2.1.1)."""
    if not 0 < stream.codec_context.extradata_size <= _MAX_TRACED_BYTES:
        return None
    with talkative(), av.logging.Capture() as lines:
        try:
            BitStreamFilterContext("trace_headers", stream)
        except (av.error.FFmpegError, ValueError):
            return None
    _, _, text = "".join(line[2] for line in lines).partition("Sequence Parameter Set\n")
    found = {name: int(value) for name, value in _SYNTAX_ELEMENT.findall(text.partition("Parameter Set\n")[0])}
    needed = {
        "pic_width_in_mbs_minus1", "pic_height_in_map_units_minus1", "frame_mbs_only_flag", "max_num_ref_frames"
    }  # fmt: skip
    return found if needed <= found.keys() else None


def bits_per_sample_of(context: AudioCodecContext) -> int | None:
    """Of codecs that spend a fixed number of bits on a sample."""
    name = context.codec.canonical_name
    if pcm := _PCM_BITS.match(name):
        return int(pcm[1])
    if name.startswith("dsd_"):
        return 1
    return 8 if name in _EIGHT_BIT else 4 if name in _FOUR_BIT else None
