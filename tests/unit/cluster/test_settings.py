from pathlib import Path

import pytest
from pydantic import ValidationError

from cluster.settings import Settings

WEBHOOK_SECRET = "whsec_" + "QUJD" * 8
SECRET = "unix://:hunter2@/tmp/redis.sock"


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    import os

    for name in [name for name in os.environ if name.startswith("MEDIARAY_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_may_be_listened_on(host):
    assert Settings(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "127.0.0.1.example.org", ""])
def test_nothing_beyond_loopback_is_listened_on(host):
    with pytest.raises(ValidationError, match="only loopback"):
        Settings(host=host)


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("MEDIARAY_PORT", "8500")
    monkeypatch.setenv("MEDIARAY_ROOTS", '["/films"]')
    assert (Settings().port, Settings().roots) == (8500, ("/films",))


def test_the_home_is_absolute(monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    assert Settings().home == Path("/home/anna/.mediaray")
    assert Settings(home=Path("here")).home.is_absolute()


@pytest.mark.parametrize("name", ["redis_url", "cache_url"])
def test_secrets_don_t_show(name):
    settings = Settings(**{name: SECRET})
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert getattr(settings, name).get_secret_value() == SECRET


def test_secrets_don_t_show_in_errors(monkeypatch):
    monkeypatch.setenv("MEDIARAY_REDIS_URL", SECRET)
    monkeypatch.setenv("MEDIARAY_HOST", "hunter2.example.org")
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert "hunter2" not in str(refused.value)


def test_settings_don_t_change():
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(("name", "value"), [("port", 0), ("port", 65_536), ("lease_s", 0.5), ("max_attempts", 0)])
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(ValidationError, match=name):
        Settings(**{name: value})


def test_webhooks_come_from_the_environment_and_don_t_show(monkeypatch):
    monkeypatch.setenv("MEDIARAY_WEBHOOK_URLS", '["https://hooks.example.com/hunter2"]')
    monkeypatch.setenv("MEDIARAY_WEBHOOK_SECRET", WEBHOOK_SECRET)
    settings = Settings()
    assert settings.current_webhook_secrets() == [WEBHOOK_SECRET]
    shown = repr(settings) + settings.model_dump_json()
    assert "hunter2" not in shown
    assert WEBHOOK_SECRET not in shown


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"webhook_urls": ["https://hooks.example.com/"]}, "set MEDIARAY_WEBHOOK_SECRET"),
        ({"webhook_hosts": ["hooks.example.com"]}, "set MEDIARAY_WEBHOOK_SECRET"),
        ({"webhook_urls": ["https://hunter2@example.com/"], "webhook_secret": WEBHOOK_SECRET}, "without a user"),
        ({"webhook_secret": "hunter2"}, "24 to 64 random bytes"),
        ({"webhook_secret": WEBHOOK_SECRET, "webhook_secret_file": "/run/secret"}, "not both"),
        ({"webhook_secret": WEBHOOK_SECRET, "webhook_events": ["job.done"]}, "job.succeeded"),
    ],
)
def test_webhooks_that_can_t_be_are_refused(given, told):
    with pytest.raises(ValidationError, match=told) as refused:
        Settings(**given)
    assert "hunter2" not in str(refused.value)


def test_fewer_replicas_at_most_than_at_least_are_refused_with_what_to_do():
    with pytest.raises(ValidationError, match=r"MEDIARAY_API_REPLICAS_MAX is less than .*raise it, or leave it out"):
        Settings(api_replicas=3, api_replicas_max=2)
    assert Settings(api_replicas=3).most_api_replicas == 3


@pytest.mark.parametrize("setting", ["roots", "output_roots"])
def test_azure_s_blobs_need_the_name_of_an_account(setting):
    with pytest.raises(ValidationError, match="MEDIARAY_AZURE_ACCOUNT"):
        Settings(**{setting: ("/films", "az://films/in/")})
    told = Settings(**{setting: ("az://films/in/",), "azure_account": "media"})
    assert told.stores.azure_account == "media"


@pytest.mark.parametrize("name", ["s3_endpoint", "gcs_endpoint", "azure_endpoint"])
@pytest.mark.parametrize("value", ["127.0.0.1:9000", "ftp://127.0.0.1", "http://key:secret@127.0.0.1", "http://a/b"])
def test_an_endpoint_is_a_protocol_and_a_host(name, value):
    with pytest.raises(ValidationError):
        Settings(**{name: value})


def test_traces_go_where_opentelemetry_s_own_variable_says_unless_ours_does(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    assert Settings().otlp_endpoint is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example.com/otlp")
    assert Settings().otlp_endpoint == "https://collector.example.com/otlp"
    monkeypatch.setenv("MEDIARAY_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    assert Settings().otlp_endpoint == "http://127.0.0.1:4318"


@pytest.mark.parametrize(
    "endpoint",
    ["127.0.0.1:4318", "grpc://127.0.0.1:4317", "http://hunter2@127.0.0.1", "http://", "http://a/?key=hunter2"],
)
def test_traces_go_to_a_url_without_secrets(endpoint):
    with pytest.raises(ValidationError, match="otlp_endpoint") as refused:
        Settings(otlp_endpoint=endpoint)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("setting", ["roots", "output_roots"])
def test_a_root_is_a_whole_path(setting, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert getattr(Settings(**{setting: ("~/films", "/media")}), setting) == (str(tmp_path / "films"), "/media")
    with pytest.raises(ValidationError, match="Write the whole path"):
        Settings(**{setting: ("films",)})
