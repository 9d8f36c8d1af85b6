"""Small files of many kinds, made by the ffmpeg program that comes with ffprobe: what PyAV can't write, or not so."""

import subprocess
from pathlib import Path

_PICTURE = "-f lavfi -i testsrc=s=96x64:r=25:d=0.4"
_SOUND = "-f lavfi -i sine=r=48000:d=0.4"
_BOTH = f"{_PICTURE} {_SOUND}"
_GAIN = "-metadata REPLAYGAIN_TRACK_GAIN=-7.25dB -metadata REPLAYGAIN_TRACK_PEAK=0.5"
_HDR10 = (
    "log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:max-cll=1000,400:"
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
)

RECIPES = {
    "programs.ts": f"{_PICTURE} {_SOUND} {_SOUND} -map 0 -map 1 -map 2 -program title=One:st=0:st=1 "
    "-program title=Two:st=2 -c:v mpeg2video -flags +ildct+ilme -top 1 -b:v 500k -maxrate 800k -bufsize 400k "
    "-c:a:0 mp2 -c:a:1 ac3 -metadata:s:a:0 language=ger",
    "film.mpg": f"{_BOTH} -c:v mpeg1video -c:a mp2 -ar 44100",
    "prores.mov": f"{_BOTH} -c:v prores_ks -profile:v 3 -c:a pcm_s24le -timecode 01:00:00:00 -aspect 16:9",
    "film.mxf": f"{_BOTH} -c:v mpeg2video -c:a pcm_s16le",
    "deep.flac": f"{_SOUND} -sample_fmt s32 -bits_per_raw_sample 24",
    "alac.m4a": f"{_SOUND} -c:a alac -sample_fmt s32p",
    "six.wav": f"{_SOUND} -af pan=5.1|c0=c0|c1=c0|c2=c0|c3=c0|c4=c0|c5=c0 -c:a pcm_s24le",
    "unsigned.wav": f"{_SOUND} -c:a pcm_u8 -metadata artist=Someone",
    "film.aiff": f"{_SOUND} -c:a pcm_s16be",
    "law.au": f"{_SOUND} -c:a pcm_mulaw",
    "adpcm.wav": f"{_SOUND} -c:a adpcm_ima_wav",
    "wavpack.wv": f"{_SOUND} -c:a wavpack",
    "vorbis.ogg": f"{_SOUND} -c:a libvorbis -metadata title=Tone",
    "opus.mka": f"{_SOUND} -c:a libopus -metadata:s:a language=fre",
    "gain.mp3": f"{_SOUND} -c:a libmp3lame {_GAIN}",
    "eac3.mp4": f"{_SOUND} -c:a eac3",
    "dca.ts": f"{_SOUND} -c:a dca -strict -2",
    "stereo.mkv": f"{_PICTURE} -c:v ffv1 -pix_fmt yuv422p10le -metadata:s:v stereo_mode=left_right "
    "-disposition:v:0 original+hearing_impaired -color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc "
    "-color_range tv -chroma_sample_location topleft",
    "grey.mkv": f"{_PICTURE} -c:v ffv1 -pix_fmt gray16le",
    "rgb.mkv": f"{_PICTURE} -c:v libx264rgb -qp 0 -metadata:s:v title=Screen",
    "hevc.mp4": f"{_PICTURE} -c:v libx265 -x265-params log-level=none -tag:v hvc1",
    "hdr.mkv": f"{_PICTURE} -c:v libx265 -pix_fmt yuv420p10le -x265-params {_HDR10}",
    "mjpeg.avi": f"{_BOTH} -c:v mjpeg -c:a pcm_s16le",
    "huff.avi": f"{_PICTURE} -c:v huffyuv",
    "divx.avi": f"{_BOTH} -c:v mpeg4 -bf 2 -vtag DIVX -c:a libmp3lame",
    "film.dv": "-f lavfi -i testsrc=s=720x576:r=25:d=0.1 -f lavfi -i sine=r=48000:d=0.1 -ac 2 -target pal-dv",
    "moving.gif": _PICTURE,
    "moving.apng": _PICTURE,
    "alpha.webm": f"{_PICTURE} -c:v libvpx-vp9 -pix_fmt yuva420p -b:v 100k -deadline realtime",
    "fragmented.mp4": f"{_BOTH} -c:v libx264 -c:a aac -movflags frag_keyframe+empty_moov",
    "film.flv": f"{_BOTH} -c:v flv1 -c:a libmp3lame -ar 44100",
    "film.wmv": f"{_BOTH} -c:v wmv2 -c:a wmav2",
    "theora.ogv": f"{_BOTH} -c:v libtheora -c:a libvorbis",
    "baseband.mkv": f"{_PICTURE} -c:v rawvideo -pix_fmt yuv420p",
    "fields.mp4": f"{_PICTURE} -c:v libx264 -flags +ildct+ilme -x264-params tff=1",
    "annexb.h264": f"{_PICTURE} -c:v libx264",
    "raw.aac": f"{_SOUND} -c:a aac",
    "raw.ac3": f"{_SOUND} -c:a ac3",
}


def make(folder: Path, name: str) -> Path:
    path = folder / name
    command = ["ffmpeg", "-v", "error", "-y", *RECIPES[name].split(), str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path
