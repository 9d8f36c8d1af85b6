from collections.abc import Iterator

import pytest
from azure_server import AzureServer
from gcs_server import GcsServer
from object_server import ObjectServer, object_server

from cluster import apart, stores, uploading


@pytest.fixture(scope="session")
def _object_server() -> Iterator[ObjectServer]:
    with object_server() as running:
        yield running


@pytest.fixture(scope="session")
def _gcs_server() -> Iterator[ObjectServer]:
    with object_server(GcsServer()) as running:
        yield running


@pytest.fixture(scope="session")
def _azure_server() -> Iterator[ObjectServer]:
    with object_server(AzureServer()) as running:
        yield running


@pytest.fixture
def s3(_object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    """S3 with an empty bucket, which this process has the credentials for."""
    return _emptied(_object_server, monkeypatch)


@pytest.fixture
def gcs(_gcs_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    """Google's store, likewise."""
    return _emptied(_gcs_server, monkeypatch)


@pytest.fixture
def azure(_azure_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    """Azure's, likewise."""
    return _emptied(_azure_server, monkeypatch)


@pytest.fixture(params=["s3", "gcs", "azure"])
def server(request: pytest.FixtureRequest) -> ObjectServer:
    """Each kind of store in turn."""
    found: ObjectServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """S3 is asked for nothing twice."""
    monkeypatch.setattr(stores, "_TRIES", 1)
    stores.filesystem.cache_clear()
    yield
    stores.filesystem.cache_clear()


def _emptied(server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    uploading._KEPT.end()  # they have the credentials of another test
    apart.ASKERS.end()
    server.empty()
    return server
