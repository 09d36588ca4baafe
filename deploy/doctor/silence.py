"""Servers from which nothing comes back: which they are, and what keeps them apart."""

from urllib.parse import urlsplit

import httpx

from deploy.doctor.finding import Finding, missing

HOW = "docs/kubernetes.md, Ports"
PORTS = {"http": 80, "https": 443}


def is_silence(error: BaseException | None) -> bool:
    """Whether it, or what led to it, is that nothing came back in time."""
    from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
    from psycopg.errors import ConnectionTimeout

    kinds = (TimeoutError, httpx.TimeoutException, ConnectionTimeout)
    while error is not None:
        if isinstance(error, (*kinds, ConnectTimeoutError, ReadTimeoutError)):
            return True
        # Clients raise errors of their own, of which the timeout is the cause.
        error = error.__cause__ or error.__context__
    return False


def silent(name: str, host: str | None, port: int) -> Finding:
    """Nothing came back from there."""
    return missing(
        name,
        f"nothing comes back from {host} on port {port} in time",
        f"check host and port; a network policy that does not let pods out to port {port} looks "
        f"like this, too: see {HOW}",
    )


def silent_at(name: str, url: str) -> Finding:
    """Nothing came back from the server of an HTTP address."""
    named = urlsplit(url)
    return silent(name, named.hostname, named.port or PORTS[named.scheme])
