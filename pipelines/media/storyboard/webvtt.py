"""Storyboards as players read them: cues that name a part of a sheet."""

from pipelines.media.storyboard.storyboard_spec import Storyboard


def vtt_of(board: Storyboard) -> str:
    """WebVTT whose cues name a part of a sheet, by a media fragment (https://www.w3.org/TR/media-frags/#naming-space).

    Players look for sheets beside it. Hours are always given, and a cue's text is on a line of its own: some read
    nothing else.
    """
    cues = [
        f"{_clock(tile.start_s)} --> {_clock(tile.end_s)}\n"
        f"{tile.sheet}#xywh={tile.x},{tile.y},{board.tile_width},{board.tile_height}\n"
        for tile in board.tiles
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _clock(time_s: float) -> str:
    seconds, milliseconds = divmod(round(time_s * 1000), 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{milliseconds:03d}"
