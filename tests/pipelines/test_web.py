"""Which addresses may be asked: schemes, hosts, redirects, and what names stand for."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from pipelines.download import web
from pipelines.download.web import Policy, WebError
from tests.pipelines.server import Server, file, redirect

LOCAL = Policy(hosts=("127.0.0.1",), schemes=("http",), timeout=5.0)
ANYONE = Policy(hosts=None, schemes=("http", "https"), timeout=5.0)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def read(url: str, policy: Policy = LOCAL) -> bytes:
    with web.client(policy) as client, web.get(client, url, policy) as response:
        return response.read()


def test_redirects_to_what_is_allowed_are_followed(server):
    url = server.serve("/a", redirect("/b"))
    server.serve("/b", redirect(server.url("/c")))
    server.serve("/c", file(b"here"))
    assert read(url) == b"here"
    assert server.paths() == ["/a", "/b", "/c"]


def test_a_redirect_to_another_host_is_refused_before_it_is_asked(server):
    url = server.serve("/a", redirect(server.url("/b", host="localhost")))
    with pytest.raises(WebError, match="the host localhost is not among those allowed"):
        read(url)
    assert server.paths() == ["/a"]


def test_a_redirect_from_https_to_http_is_refused():
    policy = Policy(hosts=("example.org",))
    answers = {
        "https://example.org/a": httpx.Response(302, headers={"Location": "http://example.org/b"})
    }
    transport = httpx.MockTransport(lambda request: answers[str(request.url)])
    with (
        httpx.Client(transport=transport) as client,
        pytest.raises(WebError, match="http://example.org/b is not asked: only https is"),
        web.get(client, "https://example.org/a", policy),
    ):
        pass


def test_redirects_in_a_circle_end(server):
    url = server.serve("/a", redirect("/a"))
    with pytest.raises(WebError, match="/a is redirected more than 5 times"):
        read(url)
    assert len(server.asked) == 6


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://example.org/a", True),
        ("https://cdn.example.com/a", True),
        ("http://example.org/a", False),
        ("ftp://example.org/a", False),
        ("file:///etc/passwd", False),
        ("https://example.com/a", False),
        ("https://cdnexample.com/a", False),
        ("https://example.org.evil.net/a", False),
        ("https://example.org@evil.net/a", False),
        ("https://127.0.0.1/a", False),
    ],
)
def test_a_policy_allows_its_hosts_alone(url, allowed):
    policy = Policy(hosts=("example.org", "*.example.com"))
    if allowed:
        policy.check(httpx.URL(url))
    else:
        with pytest.raises(WebError, match="is not asked"):
            policy.check(httpx.URL(url))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "10.1.2.3",
        "192.168.0.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "2130706433",
        "0x7f.1",
        "[::1]",
        "[fe80::1]",
        "[fd00::1]",
        "[::ffff:127.0.0.1]",
        "[2002:7f00:1::]",
    ],
)
def test_where_anyone_may_be_asked_private_addresses_may_not(server, host):
    with pytest.raises(WebError, match="is not asked: .* not a public address"):
        read(f"http://{host}:{server.port}/a", ANYONE)
    assert server.asked == []


def names(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """All names that end in .example stand for these addresses."""
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *args: int, **kinds: int) -> list[tuple]:
        if not host.endswith(".example"):
            return real(host, port, *args, **kinds)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses]

    monkeypatch.setattr(web.socket, "getaddrinfo", look_up)


def test_a_name_that_leads_into_a_private_network_is_refused(monkeypatch):
    names(monkeypatch, "93.184.216.34", "10.0.0.7")
    with pytest.raises(WebError, match="rebind.example is at 10.0.0.7, not a public address"):
        read("http://rebind.example/a", ANYONE)


def test_the_checked_address_is_connected_to_under_the_host_s_name(monkeypatch, server):
    # As if the server's address were a public one: what is asked, and whom for.
    monkeypatch.setattr(web, "_is_public", lambda address: address == "127.0.0.1")
    names(monkeypatch, "127.0.0.1")
    server.serve("/a", redirect(server.url("/b", host="other.example")))
    server.serve("/b", file(b"here"))
    assert read(server.url("/a", host="some.example"), ANYONE) == b"here"
    port = server.port
    assert server.headers("Host") == [f"some.example:{port}", f"other.example:{port}"]


def test_a_redirect_into_the_private_network_is_refused_too(monkeypatch, server):
    monkeypatch.setattr(web, "_is_public", lambda address: address == "127.0.0.1")
    server.serve("/a", redirect("http://169.254.169.254/latest/meta-data"))
    with pytest.raises(WebError, match="169.254.169.254, not a public address"):
        read(server.url("/a"), ANYONE)


def test_the_next_address_of_a_name_is_tried(monkeypatch, server):
    monkeypatch.setattr(web, "_is_public", lambda address: True)
    names(monkeypatch, "127.0.0.2", "127.0.0.1")  # nobody listens at the first
    server.serve("/a", file(b"here"))
    assert read(server.url("/a", host="some.example"), ANYONE) == b"here"


@pytest.mark.parametrize(
    "url", ["http://", "http://[::1/a", "http://a:99999/", "nothing", "http://\0/"]
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(WebError):
        read(url, ANYONE)
