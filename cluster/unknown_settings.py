"""Variables of the environment that look like settings and are none: what a typing error makes of one."""

import difflib
from collections.abc import Mapping

from cluster.settings import Settings

_PREFIX = "MEDIARAY_"
# Of the files and scripts that come with this program, not of the program.
_OTHERS = frozenset(
    {
        *("MEDIARAY_NODE_IP", "MEDIARAY_HEAD", "MEDIARAY_IMAGE", "MEDIARAY_IN", "MEDIARAY_OUT", "MEDIARAY_STATE"),
        *("MEDIARAY_USER", "MEDIARAY_REDIS_IP", "MEDIARAY_REDIS_PASSWORD_FILE", "MEDIARAY_CACHE_MEMORY"),
        *("MEDIARAY_JOBS_MEMORY", "MEDIARAY_CHAOS_ROUNDS"),
    }
)
_SERVICE = "_SERVICE_HOST"  # Kubernetes sets variables for each service of a namespace, by the service's name


def unknown_settings(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each variable ``MEDIARAY_…`` that isn't a setting, with the one that may have been meant.

    They have no effect. Values aren't told: they may be secrets.
    """
    known = {f"{_PREFIX}{name.upper()}" for name in Settings.model_fields}
    services = {name.removesuffix(_SERVICE) for name in environment if name.endswith(_SERVICE)}
    found = []
    for name in sorted(environment):
        upper = name.upper()  # settings are taken in any case
        of_service = any(name.startswith((f"{service}_SERVICE_", f"{service}_PORT")) for service in services)
        if upper.startswith(_PREFIX) and upper not in known | _OTHERS and not of_service:
            meant = difflib.get_close_matches(upper, known, n=1, cutoff=0.75)
            found.append(f"{name} is no setting, so it does nothing.{f' Did you mean {meant[0]}?' if meant else ''}")
    return found
