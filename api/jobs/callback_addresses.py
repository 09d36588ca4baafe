"""Addresses that callbacks may reach: public ones, and private ones that an operator allows."""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx

UNICAST = ipaddress.ip_network("2000::/3")
"""The addresses of IPv6 that anybody was given (RFC 4291)."""
SPECIAL = tuple(
    ipaddress.ip_network(network)
    for network in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16")
)
"""Networks with a meaning of their own, such as IPv4 within IPv6 (RFC 6890, 3056, 4380)."""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


Network = ipaddress.IPv4Network | ipaddress.IPv6Network
RESOLVE_S = 3.0


class AddressRefused(Exception):
    """A callback's address is not one that may be reached."""


def networks(words: Iterable[str]) -> list[Network]:
    """The networks of these names."""
    return [ipaddress.ip_network(word) for word in words]


async def reachable(host: str, port: int, allowed: Sequence[Network]) -> Address:
    """An address of the host, all of whose addresses may be reached.

    Raises AddressRefused for a host with any address that is private, or OSError.
    """
    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    return _allowed(host, [str(entry[4][0]) for entry in infos], allowed)


def require_reachable(url: str, allowed: Sequence[Network]) -> None:
    """Raises AddressRefused for a URL that no message would be sent to.

    A name that does not resolve now may do so when there is something to send.
    """
    host = httpx.URL(url).host.strip("[]")
    pool = ThreadPoolExecutor(1)
    try:
        # getaddrinfo has no timeout, so a resolver that hangs is left behind in its thread.
        lookup = pool.submit(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
        infos = lookup.result(RESOLVE_S)
    except (OSError, UnicodeError, TimeoutError):
        return
    finally:
        pool.shutdown(wait=False)
    _allowed(host, [str(entry[4][0]) for entry in infos], allowed)


def _allowed(host: str, resolved: Sequence[str], allowed: Sequence[Network]) -> Address:
    addresses = [ipaddress.ip_address(address) for address in resolved]
    if not addresses:
        raise AddressRefused(f"{host} has no address")
    for address in addresses:
        if not _is_public(address) and not _is_in(address, allowed):
            raise AddressRefused(
                f"{host} is {address}, which is no public address; an operator can allow its "
                "network with ORRERY_CALLBACK_PRIVATE"
            )
    return addresses[0]


def _is_public(address: Address) -> bool:
    # An IPv4-mapped address such as ::ffff:10.0.0.1 leads to the IPv4 address.
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.version == 6 and address not in UNICAST:
        return False
    is_special = any(address.version == n.version and address in n for n in SPECIAL)
    return address.is_global and not address.is_multicast and not is_special


def _is_in(
    address: Address, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]
) -> bool:
    return any(address.version == n.version and address in n for n in networks)
