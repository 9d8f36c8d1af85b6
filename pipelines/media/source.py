"""Open a source: the only place where libav is given something to read.

libav gets an open file descriptor and two whitelists, never a name: a name could be a URL, a playlist or a
protocol of its own, and a playlist could name other files.
"""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.frame import Frame
from pydantic import BaseModel

from pipelines.media.errors import (
    NotMediaError,
    SourceEmptyError,
    SourceNotFoundError,
    SourceTruncatedError,
    SourceUnreadableError,
    SourceUnsupportedError,
)
from pipelines.media.ranges import RangeReader
from pipelines.media.reopening import OPEN_FLAGS, reopen


class Descriptor(BaseModel, frozen=True, extra="forbid"):
    """An open, seekable file descriptor; ``name`` is the base name, which opens nothing.

    With ``ranges``, the file's bytes are there only once they were asked for on that socket.
    """

    number: int
    name: str
    ranges: int | None = None


Source = Path | Descriptor

# Names as libav's demuxers give them. Left out on purpose: what reads other files or devices (concat, hls, dash,
# image2, lavfi, sdp, rtsp, imf, tedcaptions), what takes any text (tty, xbin, subtitle files) and headerless PCM.
FORMATS = ",".join(
    (
        "mov,mp4,m4a,3gp,3g2,mj2",
        "matroska,webm",
        "mpegts,mpegtsraw,mpeg,vob,dvd,svcd,vcd,pva,wtv,ty",
        "avi,flv,live_flv,asf,asf_o,swf,nut,nsv,nuv,gxf,lxf,mxf,mxf_opatom,rm,rmvb,ivr,dv,dhav,kux",
        "ogg,oga,ogv,opus,spx",
        "wav,w64,rf64,aiff,caf,au,flac,mp3,mp2,aac,ac3,eac3,ac4,dts,dtshd,truehd,mlp,loas,latm",
        "ape,wv,tta,tak,mpc,mpc8,shn,oma,voc,amr,amrnb,amrwb,gsm,dsf,iff,sox,aa,aax,qcp,xwma",
        "h261,h263,h264,hevc,vvc,evc,m4v,mpegvideo,mpeg1video,mpeg2video,vc1,vc1test,dirac,cavsvideo,obu,av1,ivf",
        "mjpeg,mjpeg_2000,smjpeg,yuv4mpegpipe,gif,apng,dnxhd,amv,roq,bink,smk,flic,fli,film_cpk,4xm",
    )
)

_HEAD_BYTES = 12
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")  # that no demuxer above reads
_MAKE_UP_TIMES = 1  # AVFMT_FLAG_GENPTS


def name_of(source: Source) -> str:
    return source.name


@contextmanager
def open_input(source: Source) -> Iterator[InputContainer]:
    """Open ``source`` with a read position of its own and yield libav's container.

    Raises:
        SourceNotFoundError: there is no such file.
        SourceUnsupportedError: it isn't a regular, seekable file, or no demuxer we allow reads it.
        SourceUnreadableError: its bytes are empty, cut off, damaged or no media at all (see the subclasses).
    """
    container = _open_container(source)
    try:
        yield container
    finally:
        container.close()


def shown_at(frame: Frame) -> int | None:
    """When ``frame`` is shown: AVI and raw streams give only a decoding time, or nothing."""
    return frame.pts if frame.pts is not None else frame.dts


def size_of(source: Source) -> int:
    descriptor = _open_descriptor(source)
    try:
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def open_file(source: Source) -> io.RawIOBase:
    """Its bytes, at a read position of its own. What isn't there yet is brought when it is read. Close it.

    Raises:
        SourceNotFoundError, SourceUnreadableError, SourceUnsupportedError: as ``open_input``.
    """
    descriptor = _open_checked(source)
    if isinstance(source, Descriptor) and source.ranges is not None:
        os.close(descriptor)
        return RangeReader(source.number, source.ranges)
    return os.fdopen(descriptor, "rb", buffering=0)


def _open_checked(source: Source) -> int:
    descriptor = _open_descriptor(source)
    try:
        _check_file(descriptor, source)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open_container(source: Source) -> InputContainer:
    descriptor = _open_checked(source)
    try:
        return _hand_to_libav(descriptor, source)
    finally:
        os.close(descriptor)  # libav works on a duplicate


def _open_descriptor(source: Source) -> int:
    try:
        if isinstance(source, Descriptor):
            return reopen(source.number)
        return os.open(source, OPEN_FLAGS)
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"There is no file {name_of(source)}; check its path.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise SourceUnreadableError(f"{name_of(source)} can't be opened: {reason}.", errno=error.errno) from error


def _check_file(descriptor: int, source: Source) -> None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise SourceUnsupportedError(f"{name_of(source)} is not a regular file; give a file that can be seeked.")
    if status.st_size == 0:
        raise SourceEmptyError(f"{name_of(source)} is empty (0 bytes); copy or record it again.")


def _hand_to_libav(descriptor: int, source: Source) -> InputContainer:
    options = {"fd": str(descriptor), "protocol_whitelist": "fd", "format_whitelist": FORMATS}
    name = name_of(source)
    file: str | RangeReader = "fd:"
    if isinstance(source, Descriptor) and source.ranges is not None:
        del options["fd"]
        file = RangeReader(source.number, source.ranges)
    try:
        container = av.open(file, mode="r", options=options, metadata_errors="replace")
    except av.error.InvalidDataError as error:
        raise _unreadable(descriptor, name) from error
    except av.error.EOFError as error:
        raise SourceTruncatedError(f"{name} ends before its first frame; copy or record it again.") from error
    except (av.error.FFmpegError, ValueError) as error:
        # libav answers EINVAL to a format that isn't on the whitelist.
        raise _no_media(os.pread(descriptor, _HEAD_BYTES, 0), name) from error
    # PyAV has libav make up missing presentation times, which puts AVI's pictures one late; see shown_at instead.
    container.flags &= ~_MAKE_UP_TIMES
    if not len(container.streams):
        container.close()
        raise SourceUnreadableError(f"{name} has no stream that can be read; it is damaged.")
    return container


def _unreadable(descriptor: int, name: str) -> SourceUnreadableError:
    head = os.pread(descriptor, _HEAD_BYTES, 0)
    if head[4:8] in {b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"moof"}:
        return SourceTruncatedError(
            f"{name} has no index (moov box): it was cut off or its recording didn't end; copy it again or repair it."
        )
    if head[8:] != b"WEBP" and head[:4] in {b"\x1aE\xdf\xa3", b"RIFF", b"OggS", b"fLaC", b"FLV\x01", b"0&\xb2u"}:
        return SourceUnreadableError(f"{name} is damaged: its header can't be read.")
    return _no_media(head, name)


def _no_media(head: bytes, name: str) -> NotMediaError:
    if head.startswith(_PICTURES) or (head.startswith(b"RIFF") and head[8:] == b"WEBP"):
        return NotMediaError(f"{name} is a picture; image-convert and the other image operations take it.")
    return NotMediaError(f"{name} is not a media file, or of a kind that isn't read here.")
