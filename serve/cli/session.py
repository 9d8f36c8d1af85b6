"""Where a command works: the settings, the home folder, and a client of the running server."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.errors import StorageError
from cluster.home import Home

if TYPE_CHECKING:
    from cluster.settings import Settings
    from serve.client import Client


@dataclass(frozen=True)
class Place:
    settings: "Settings"
    home: Home

    @classmethod
    def here(cls) -> "Place":
        """Raises ValidationError where a MEDIARAY_ variable is wrong."""
        from cluster.settings import Settings  # slow to import

        settings = Settings()
        return cls(settings, Home.create(settings.home))

    @classmethod
    def there(cls) -> "Place":
        """As ``here``, of a home that is there already.

        Raises:
            StorageError: ``home_not_found``.
        """
        from cluster.settings import Settings  # slow to import

        settings = Settings()
        if not settings.home.is_dir():
            told = f"There is no home {settings.home}. Set MEDIARAY_HOME to that of the server."
            raise StorageError("home_not_found", told)
        return cls(settings, Home.create(settings.home))

    def client(self, patience_s: float = 8.0) -> "Client":
        """Raises ServerUnreachableError where no server runs on this home."""
        from serve.client import Client, ServerUnreachableError  # slow to import

        server = self.home.server()
        if server is None or "url" not in server:
            raise ServerUnreachableError(self.settings.url, f"none runs on {self.home.path}")
        return Client(str(server["url"]), self.home.token(), patience_s=patience_s)
