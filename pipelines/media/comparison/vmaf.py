"""VMAF by the ffmpeg program: libav's wheel has no libvmaf.

The program gets the luma of both pictures by one pipe, the distorted one above the reference, so that no pair can come
apart, and writes its scores into memory that has no name. VMAF's models don't look at chroma. Nothing on the command
line comes from a file.
"""

import fcntl
import json
import os
import subprocess
from contextlib import suppress
from functools import cache
from types import TracebackType
from typing import Any, Self

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from pipelines.media.comparison.compare_spec import Canvas, Model
from pipelines.media.errors import EncodeError, EncoderUnavailableError

_LEAN = r"\\:adm.adm_skip_aim=true"
_PIPE_BYTES = 1 << 20  # the fewer switches between both, the better
_TOLD_BYTES = 300  # of what the program said last
_EXIT_S = 60.0  # to work off what the pipe holds: a few pictures


class VmafProgram:
    """Scores pairs of pictures, in order, as they come. The pipe bounds how far the program may fall behind.

    Raises:
        EncoderUnavailableError: there is no ffmpeg program.
        EncodeError: it failed.
    """

    def __init__(self, canvas: Canvas, model: Model, *, lean: bool | None = None) -> None:
        """``lean``: leave out what no score needs; ``None``: if this program can."""
        self._canvas = canvas
        self._lean = _can_be_lean() if lean is None else lean
        self._count = 0
        self._scores = os.memfd_create("scores", os.MFD_CLOEXEC)
        self._errors = os.memfd_create("errors", os.MFD_CLOEXEC)
        self._process = subprocess.Popen(
            self._command(model),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            pass_fds=(self._scores,),
            cwd="/",
        )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin
        with suppress(OSError):  # a user may have only so many large ones
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(BrokenPipeError):
            self._pipe.close()
        self._process.wait()  # it ends with its input; should it hang, our host ends us all
        os.close(self._scores)
        os.close(self._errors)

    def feed(self, reference: NDArray[Any], distorted: NDArray[Any]) -> None:
        """The luma of one pair."""
        try:
            for plane in (distorted, reference):
                _write(self._pipe.fileno(), plane)
        except BrokenPipeError as error:
            raise self._failed() from error
        self._count += 1

    def finish(self) -> list[float]:
        """The score of each pair."""
        with suppress(BrokenPipeError):  # how it ended tells
            self._pipe.close()
        try:
            code = self._process.wait(_EXIT_S)
        except subprocess.TimeoutExpired as error:
            raise self._failed() from error
        if code != 0:
            raise self._failed()
        with open(self._scores, closefd=False) as told:
            frames = json.load(told)["frames"] if self._count else []
        scores = [float(frame["metrics"]["vmaf"]) for frame in frames]
        if len(scores) != self._count:
            raise EncodeError(f"The ffmpeg program scored {len(scores)} of {self._count} pictures.")
        return scores

    def _command(self, model: Model) -> list[str]:
        width, height, depth = self._canvas.width, self._canvas.height, self._canvas.depth
        size, deep = f"{width}:{height}", "" if depth == 8 else f"{depth}le"
        # As grey it would be of full range, and brought to the limited one.
        graph = (
            f"[0:v]scale=in_range=pc:out_range=pc,format=yuv420p{deep},split[a][b];"
            f"[a]crop={size}:0:0:exact=1[d];[b]crop={size}:0:{height}:exact=1[r];"
            f"[d][r]libvmaf=model=version={model}{_LEAN if self._lean else ''}:log_fmt=json"
            f":log_path=/proc/self/fd/{self._scores}"
        )
        return [
            _program(),
            *("-nostdin", "-v", "error", "-threads", "1", "-thread_queue_size", "2", "-f", "rawvideo"),
            *("-pixel_format", f"gray{deep}", "-video_size", f"{width}x{2 * height}", "-i", "pipe:0"),
            *("-filter_complex_threads", "1", "-filter_complex", graph, "-fps_mode", "passthrough", "-f", "null", "-"),
        ]

    def _failed(self) -> EncodeError:
        code = self._process.poll()
        size_bytes = os.fstat(self._errors).st_size
        last = os.pread(self._errors, _TOLD_BYTES, max(0, size_bytes - _TOLD_BYTES))
        told = " ".join(last.decode(errors="replace").split())
        return EncodeError(f"The ffmpeg program that measures VMAF failed (exit code {code}): {told}")


@cache
def _can_be_lean() -> bool:
    """Whether this program's libvmaf knows the option that leaves out ``aim``: 4 % of the time, and in no model."""
    canvas = Canvas(width=64, height=64, pixel_format="yuv420p", depth=8, full_range=False, matrix=None)
    picture = np.zeros((64, 64), np.uint8)
    try:
        with VmafProgram(canvas, "vmaf_v0.6.1", lean=True) as program:
            program.feed(picture, picture)
            program.finish()
    except EncodeError:
        return False
    return True


def _program() -> str:
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise EncoderUnavailableError(
            "There is no ffmpeg program to measure VMAF with; install imageio-ffmpeg."
        ) from error


def _write(descriptor: int, plane: NDArray[Any]) -> None:
    left = np.ascontiguousarray(plane).data.cast("B")
    while left:
        left = left[os.write(descriptor, left) :]
