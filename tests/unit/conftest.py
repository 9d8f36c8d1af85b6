from collections.abc import Iterator

import pytest
from object_server import ENVIRONMENT, ObjectServer, object_server


@pytest.fixture(scope="session")
def _object_server() -> Iterator[ObjectServer]:
    with object_server() as running:
        yield running


@pytest.fixture
def s3(_object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    """S3 with an empty bucket, which this process has the credentials for."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    _object_server.empty()
    return _object_server
