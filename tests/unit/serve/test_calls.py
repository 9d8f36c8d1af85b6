import httpx
import pytest

from serve import calls


@pytest.mark.parametrize("told", [[{"name": "a"}], {"profiles": [{"name": "a"}]}])
def test_a_listing_may_be_bare_or_named(told):
    assert calls.listing("profiles").parse(httpx.Response(200, json=told)) == [{"name": "a"}]


def test_an_odd_job_id_stays_inside_its_path():
    assert calls.get("../health").path == "/jobs/..%2Fhealth"
