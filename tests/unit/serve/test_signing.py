from urllib.parse import urlsplit

import pytest

from serve.signing import Signer

PATH = "/v1/images"
QUERY = {"source": "/photos/a b&c.jpg", "w": "300"}
KEYS = ["new", "old"]


def signer(*, keys: list[str] = KEYS, now_s: float = 1_000.0) -> Signer:
    return Signer(lambda: keys, lambda: now_s)


@pytest.fixture
def query():
    """The query of a good link."""
    url, expires_at = signer().signed(PATH, QUERY, 60)
    assert expires_at == 1_060
    return urlsplit(url).query


def test_a_signed_link_is_good_until_it_expires(query):
    assert signer().refusal(PATH, query) is None
    assert signer(now_s=1_060).refusal(PATH, query) is None
    assert "expired" in str(signer(now_s=1_061).refusal(PATH, query))


@pytest.mark.parametrize(
    ("was", "becomes"),
    [("w=300", "w=3000"), ("expires=1060", "expires=9999"), ("a+b", "a+c"), ("w=300", "w=300&h=5"), ("&w=300", "")],
)
def test_a_changed_link_is_refused(query, was, becomes):
    assert was in query
    assert "signature" in str(signer().refusal(PATH, query.replace(was, becomes)))


def test_another_path_is_refused(query):
    assert signer().refusal("/v1/other", query)


def test_a_key_stays_good_while_it_is_live(query):
    assert signer(keys=["newer", "new"]).refusal(PATH, query) is None
    assert signer(keys=["newest", "newer"]).refusal(PATH, query)


def test_parameters_in_another_order_are_the_same_link(query):
    assert signer().refusal(PATH, "&".join(reversed(query.split("&")))) is None


@pytest.mark.parametrize("more", ["&w=300", "&signature=x", "&expires=1060"])
def test_a_parameter_that_comes_twice_is_refused(query, more):
    assert "twice" in str(signer().refusal(PATH, query + more))


@pytest.mark.parametrize("given", ["signature=", "signature=%C3%A9", "signature"])
def test_a_signature_of_nothing_is_refused(given):
    assert signer().refusal(PATH, given)
