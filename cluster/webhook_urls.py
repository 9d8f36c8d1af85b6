"""Where a webhook may lead to (URLs that every parser reads alike, public addresses), and what it is signed with."""

import base64
import ipaddress
import re
from dataclasses import dataclass

MOST_CHARACTERS = 2000
# Names and numbers only before the path: so no two parsers can take different parts of it for the host.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>\d{1,5}))?([/?][!$-~]*)?"
)
_PORTS = {"http": 80, "https": 443}
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")  # IPv4 behind NAT64


@dataclass(frozen=True)
class WebhookUrl:
    """Where a URL leads to. ``host`` is in small letters, an IPv6 address in its brackets."""

    scheme: str
    host: str
    port: int

    @property
    def place(self) -> str:
        """``host``, with ``:port`` where that isn't the scheme's own."""
        return self.host if self.port == _PORTS[self.scheme] else f"{self.host}:{self.port}"


def webhook_url(text: str) -> WebhookUrl:
    """Read one. Raises ValueError, which doesn't tell the URL: it may be a secret."""
    found = _URL.fullmatch(text)
    if found is None or len(text) > MOST_CHARACTERS:
        raise ValueError("a webhook is http://HOST/… or https://HOST/… in plain ASCII, without a user or a fragment")
    scheme = found["scheme"]
    port = int(found["port"] or _PORTS[scheme])
    if not 0 < port < 65_536:
        raise ValueError("a webhook's port is from 1 to 65535")
    return WebhookUrl(scheme, found["host"].lower(), port)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet: no private, local or reserved one, nor one of these in IPv6."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip.sixtofour is not None or ip.teredo is not None or ip in _TRANSLATED:
            return False
    return ip.is_global and not ip.is_multicast


def webhook_secrets(text: str) -> list[str]:
    """One or several, by space: each ``whsec_`` and 24 to 64 bytes in base64. Raises ValueError, which tells none."""
    secrets = text.split()
    if not secrets or not all(map(_is_secret, secrets)):
        raise ValueError("a webhook's secret is whsec_ and 24 to 64 random bytes in base64; several by space")
    return secrets


def _is_secret(text: str) -> bool:
    try:
        return text.startswith("whsec_") and 24 <= len(base64.b64decode(text[6:], validate=True)) <= 64
    except ValueError:
        return False
