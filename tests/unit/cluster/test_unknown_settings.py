import re

import pytest

from cluster.deploy.platforms import PLAIN_FILES, text_of
from cluster.settings import Settings
from cluster.unknown_settings import unknown_settings


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("MEDIARAY_ROOT", "MEDIARAY_ROOTS"),
        ("MEDIARAY_REDISURL", "MEDIARAY_REDIS_URL"),
        ("MEDIARAY_BACKUP_EVERY_HOURS", "MEDIARAY_BACKUP_EVERY_H"),
        ("mediaray_prot", "MEDIARAY_PORT"),
    ],
)
def test_a_typing_error_is_told_with_what_was_meant(written, meant):
    (sentence,) = unknown_settings({written: "hunter2", "HOME": "/home/anna"})
    assert sentence == f"{written} is no setting, so it does nothing. Did you mean {meant}?"


def test_what_is_like_no_setting_is_told_without_a_guess():
    assert unknown_settings({"MEDIARAY_COLOUR_OF_THE_LOGO": "red"}) == [
        "MEDIARAY_COLOUR_OF_THE_LOGO is no setting, so it does nothing."
    ]


def test_settings_are_known_in_any_case():
    names = [f"MEDIARAY_{name.upper()}" for name in Settings.model_fields]
    assert unknown_settings(dict.fromkeys([*names, "mediaray_home"], "")) == []


def test_what_the_shipped_files_ask_for_is_known():
    named = {name: "" for file in PLAIN_FILES for name in re.findall(r"MEDIARAY_[A-Z_]+", text_of(file))}
    assert len(named) > 10
    assert unknown_settings(named) == []


def test_what_kubernetes_tells_of_services_is_no_typing_error():
    service = "MEDIARAY_SERVE_SVC"
    told = {f"{service}_SERVICE_HOST": "10.0.0.1", f"{service}_SERVICE_PORT": "8000", f"{service}_PORT_8000_TCP": "x"}
    assert unknown_settings(told) == []
    assert len(unknown_settings({**told, "MEDIARAY_SERVE_PATHS": "proxy"})) == 1
