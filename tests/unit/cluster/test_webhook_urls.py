import pytest

from cluster.webhook_urls import is_public, webhook_secrets, webhook_url

SECRET = "whsec_" + "QUJD" * 8


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("https://Hooks.example.com/a/b?c=d", "hooks.example.com"),
        ("https://hooks.example.com:443", "hooks.example.com"),
        ("http://hooks.example.com:443/", "hooks.example.com:443"),
        ("http://127.0.0.1:8080?x=@", "127.0.0.1:8080"),
        ("http://[::1]:8080/", "[::1]:8080"),
    ],
)
def test_where_a_url_leads_to(text, place):
    assert webhook_url(text).place == place


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hooks.example.com",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "HTTP://hooks.example.com/",
        "http://",
        "http:///path",
        "http://user@hooks.example.com/",
        "http://user:password@hooks.example.com/",
        "http://hooks.example.com\\@evil.example.com/",
        "http://hooks.example.com#@evil.example.com/",
        "http://hooks.example.com/#part",
        "http://hooks.example.com:0/",
        "http://hooks.example.com:65536/",
        "http://hooks.example.com:80:80/",
        "http://hooks.example.com/a b",
        "http://hooks.example.com/\r\nX: y",
        "http://hooks.example.com/\n",
        "http://hööks.example.com/",
        "http://[::1%25eth0]/",
        "http://hooks.example.com/" + "a" * 2000,
    ],
)
def test_what_parsers_may_read_otherwise_is_refused_and_not_told(text):
    with pytest.raises(ValueError, match="a webhook") as refused:
        webhook_url(text)
    assert "example.com" not in str(refused.value)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34"])
def test_public_addresses(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "192.0.2.1", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0"),
        *("fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::"),
    ],
)
def test_addresses_that_are_not_public(address):
    assert not is_public(address)


def test_secrets_are_told_apart_by_space():
    assert webhook_secrets(f"{SECRET}\n {SECRET} ") == [SECRET, SECRET]


@pytest.mark.parametrize(
    "text", ["", "hunter2", "whsec_hunter2", "whsec_" + "QUJD" * 7, "whsec_" + "QUJD" * 22, f"{SECRET} hunter2"]
)
def test_what_is_no_secret_is_refused_and_not_told(text):
    with pytest.raises(ValueError, match="whsec_ and 24 to 64") as refused:
        webhook_secrets(text)
    assert "hunter2" not in str(refused.value)
