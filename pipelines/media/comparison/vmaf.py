"""VMAF by the ffmpeg program: libav's wheel has no libvmaf.

The program gets pictures by one pipe, the distorted one above the reference, so that no pair can come apart, and writes
its scores into memory that has no name. Nothing on its command line comes from a file.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from types import TracebackType
from typing import Any, Self

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from pipelines.media.comparison.compare_spec import Canvas, Model
from pipelines.media.errors import EncodeError, EncoderUnavailableError

_LEAN = r"\\:adm.adm_skip_aim=true"
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        if self._process.stdin is not None and not self._process.stdin.closed:
            with _ignored_break():
                self._process.stdin.close()
        self._process.wait()
        os.close(self._scores)
        os.close(self._errors)

    def feed(self, reference: Sequence[NDArray[Any]], distorted: Sequence[NDArray[Any]]) -> None:
        """One pair, as planes."""
        assert self._process.stdin is not None
        descriptor = self._process.stdin.fileno()
        try:
            for above, below in zip(distorted, reference, strict=True):
                for plane in (above, below):
                    _write(descriptor, self._even(plane))
        except BrokenPipeError as error:
            raise self._failed() from error
        self._count += 1

    def finish(self) -> list[float]:
        """The score of each pair."""
        assert self._process.stdin is not None
        with _ignored_break():
            self._process.stdin.close()
        try:
            code = self._process.wait(_EXIT_S)
        except subprocess.TimeoutExpired as error:
            raise self._failed() from error
        if code != 0:
            raise self._failed()
        os.lseek(self._scores, 0, os.SEEK_SET)  # the program wrote with a position of its own
        with open(self._scores, closefd=False) as told:
            frames = json.load(told)["frames"] if self._count else []
        scores = [float(frame["metrics"]["vmaf"]) for frame in frames]
        if len(scores) != self._count:
            raise EncodeError(f"The ffmpeg program scored {len(scores)} of {self._count} pictures.")
        return scores

    def _even(self, plane: NDArray[Any]) -> NDArray[Any]:
        """With one more line where the height is odd: planes of chroma must begin at even lines of luma."""
        rows = plane.shape[0]
        wanted = rows + rows % 2 if rows == self._canvas.height else rows
        return plane if rows == wanted else np.vstack([plane, plane[-1:]])

    def _command(self, model: Model) -> list[str]:
        width, height = self._canvas.width, self._canvas.height
        below = height + height % 2
        size = f"{width}:{height}"
        graph = (
            f"[0:v]split[a][b];[a]crop={size}:0:0:exact=1[d];[b]crop={size}:0:{below}:exact=1[r];"
            f"[d][r]libvmaf=model=version={model}{_LEAN if self._lean else ''}:log_fmt=json"
            f":log_path=/proc/self/fd/{self._scores}"
        )
        return [
            _program(),
            *("-nostdin", "-v", "error", "-threads", "1", "-thread_queue_size", "2", "-f", "rawvideo"),
            *("-pixel_format", self._canvas.pixel_format, "-video_size", f"{width}x{2 * below}", "-i", "pipe:0"),
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
    picture = [np.zeros((side, side), np.uint8) for side in (64, 32, 32)]
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


@contextmanager
def _ignored_break() -> Iterator[None]:
    """A program that is gone already can't take the rest; how it ended tells."""
    with suppress(BrokenPipeError):
        yield
