"""The server as an application of Serve, for clusters that a file tells what to serve, as KubeRay's RayService does.

``import_path: serve.deployed:application``; the environment of the head has the settings.
"""

import logging
import os
from typing import Any

from ray import serve as ray_serve

from cluster.errors import StartupError
from cluster.home import Home
from cluster.redis_server import RedisUrls, check_cache, check_durable
from cluster.settings import Settings
from cluster.unknown_settings import unknown_settings
from serve.home_holder import hold
from serve.main import edge_application, start_actors

_log = logging.getLogger("mediaray.deployed")


def application(args: dict[str, Any]) -> ray_serve.Application:
    """Start the actors, and return the edge for Serve to run. ``args`` has to be empty: there is one place of settings.

    Raises:
        StartupError: a Redis that other nodes reach isn't named, or refuses the password; the job store doesn't answer,
            or could lose jobs; another holds the home, or a restore into it was broken off.
    """
    if args:
        raise StartupError("An application takes its settings from the environment, not from args.")
    settings = Settings()
    if settings.redis_url is None or settings.cache_url is None:
        raise StartupError("Set MEDIARAY_REDIS_URL and MEDIARAY_CACHE_URL.")
    urls = RedisUrls(settings.redis_url.get_secret_value(), settings.cache_url.get_secret_value())
    check_durable(urls.jobs)
    check_cache(urls.cache)
    for sentence in unknown_settings(os.environ):
        _log.warning(sentence)
    home = Home.create(settings.home)
    hold(home, settings.url)
    home.picture_keys()  # made before replicas ask for it
    start_actors(settings, urls)
    return edge_application(settings, urls, home.token())
