"""Parameters of jobs that share nothing with each other, so that none takes over what another finished."""

from typing import Any


def film_params(film_s: float, number: int, output: str) -> dict[str, Any]:
    """Of a transcode of a film that lasts so long: it ends a bit earlier."""
    return {"profile": "mobile-480p", "end": round(film_s - 0.0001 * number, 4), "output": output}


def picture_params(number: int) -> dict[str, Any]:
    """Of renditions, for 500 jobs."""
    return {"sizes": [str(1200 - number % 500), "600"], "format": "avif"}
