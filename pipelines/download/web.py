"""One address asked over HTTP: what may be asked is checked, and checked again at every redirect.

A Policy says which schemes and hosts are allowed and how patient to be. With `hosts` None any host
may be asked whose addresses are all public: names are resolved here and connected to by the address
that was checked, so neither a redirect nor a second look-up can lead into a private network.
"""

import ipaddress
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import httpx

_AGENT = "embervlm (python -m pipelines download)"


class WebError(ValueError):
    """An address that may not be asked, or an answer that cannot be used; again would not help."""


class TransientError(WebError):
    """A failure that may pass; `wait` is how many seconds the server asks to be left alone."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True)
class Policy:
    """What may be asked, and how patiently.

    `hosts`: names, or "*.name" for all below it; None: any public host. `attempts` in a row may
    fail; the wait before the next begins with `backoff` seconds and doubles up to `longest`.
    `timeout`: seconds to connect, and between two pieces of an answer.
    """

    hosts: tuple[str, ...] | None
    schemes: tuple[str, ...] = ("https",)
    redirects: int = 5
    attempts: int = 6
    timeout: float = 60.0
    backoff: float = 1.0
    longest: float = 120.0
    sleep: Callable[[float], object] = time.sleep

    def check(self, url: httpx.URL) -> None:
        """Raises WebError for an address that may not be asked."""
        if url.scheme not in self.schemes or not url.host:
            raise WebError(f"{url} is not asked: only {' and '.join(self.schemes)} is")
        if self.hosts is not None and not any(_covers(host, url.host) for host in self.hosts):
            raise WebError(f"{url} is not asked: the host {url.host} is not among those allowed")

    def pause(self, failures: int, wait: float) -> None:
        """Wait before the next attempt: as long as was asked for, or longer with each failure."""
        backoff = self.backoff * 2 ** (failures - 1) * random.uniform(0.5, 1.5)
        self.sleep(min(max(backoff, wait), self.longest))


def client(policy: Policy) -> httpx.Client:
    """A client for `get`; the environment's proxy is used, except where addresses are checked."""
    certificates = httpx.create_ssl_context()
    certificates.load_default_certs()  # the machine's own too: a company's proxy signs with those
    if policy.hosts is None:
        return httpx.Client(transport=_PublicOnly(certificates), timeout=policy.timeout)
    return httpx.Client(verify=certificates, timeout=policy.timeout)


@contextmanager
def get(
    client: httpx.Client, url: str, policy: Policy, headers: Mapping[str, str] | None = None
) -> Iterator[httpx.Response]:
    """The answer to GET, its body not yet read; `history` holds the redirects that led to it.

    Raises TransientError for what may pass (connection, stall, 408, 429, 5xx), also while the body
    is read inside the block, and WebError for all else that is not 2xx or 416.
    """
    asked = {"User-Agent": _AGENT, "Accept-Encoding": "identity", **(headers or {})}
    hops: list[httpx.Response] = []
    try:
        at = httpx.URL(url)
        while True:
            policy.check(at)
            with client.stream("GET", at, headers=asked) as response:
                if not response.has_redirect_location:
                    response.history = hops
                    _check_status(response)
                    yield response
                    return
                hops.append(response)
                at = at.join(response.headers["Location"])
            if len(hops) > policy.redirects:
                raise WebError(f"{url} is redirected more than {policy.redirects} times")
    except (httpx.InvalidURL, httpx.DecodingError) as error:
        raise WebError(f"{url}: {type(error).__name__}: {error}") from error
    except httpx.TransportError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise WebError(f"{url}: {error}") from error
        raise TransientError(f"{url}: {type(error).__name__}: {error}") from error


def _check_status(response: httpx.Response) -> None:
    code = response.status_code
    if response.is_success or code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        return
    said = f"{response.url} answered {code} {response.reason_phrase}".rstrip()
    if code in (408, 429) or response.is_server_error:
        raise TransientError(said, _seconds(response.headers.get("Retry-After", "0")))
    if code in (401, 403):
        said += ": it may want an account, or terms to be accepted"
    raise WebError(said)


def _seconds(retry_after: str) -> float:
    """Retry-After, a number of seconds or a date; 0 for what is neither."""
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return 0.0


def _covers(allowed: str, host: str) -> bool:
    return host.endswith(allowed[1:]) if allowed.startswith("*.") else host == allowed


class _PublicOnly(httpx.BaseTransport):
    """Connects to public addresses only, each time to one that was checked just before."""

    def __init__(self, certificates: ssl.SSLContext) -> None:
        # No connection is kept: it would be found again by address, whatever name was verified.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._inner = httpx.HTTPTransport(verify=certificates, limits=limits)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        *others, last = _public_addresses(url)
        for address in others:
            try:
                return self._inner.handle_request(_addressed(request, address))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue  # the name's next address; what the last one says is what is raised
        return self._inner.handle_request(_addressed(request, last))

    def close(self) -> None:
        self._inner.close()


def _addressed(request: httpx.Request, address: str) -> httpx.Request:
    """The same request to one address of its host; Host and certificate stay those of the name."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )


def _public_addresses(url: httpx.URL) -> list[str]:
    """The addresses of a host. Raises WebError if one of them is not public."""
    port = url.port or {"http": 80, "https": 443}[url.scheme]
    try:
        found = socket.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(f"{url.host} has no address: {error}") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not _is_public(address):
            raise WebError(f"{url} is not asked: {url.host} is at {address}, not a public address")
    return addresses[:4]


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip.sixtofour or ip
    return ip.is_global and not ip.is_multicast
