"""DICOM application entities and the addresses they may call from."""

import ipaddress
import re
from dataclasses import dataclass

from gateway.errors import InputError

_AE_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")
PORT_RANGE = range(1, 65536)
HOST_LIMIT_CHARACTERS = 253
"""RFC 1035 §2.3.4, without the final dot."""

_HOST_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_MAPPED_PREFIX_BITS = 96
"""RFC 4291 §2.5.5.2: an IPv4 address behind ::ffff:0:0/96."""


def ae_title(text: str) -> str:
    """Return the AE title without insignificant spaces (PS3.5 §6.2, VR AE).

    Raises:
        InputError: empty, longer than 16 characters, or with a character outside the default repertoire.
    """
    title = text.strip(" ")
    if not title or not _AE_TITLE.fullmatch(title):
        raise InputError("AE title: expected 1 to 16 printable ASCII characters without backslash")
    return title


@dataclass(frozen=True, slots=True)
class ApplicationEntity:
    """A peer: its title, the institution it belongs to, where it listens and where it may call from.

    `addresses` are networks in CIDR form; empty means that the peer may not call us at all.
    """

    title: str
    institution_oid: str
    host: str
    port: int
    addresses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if ae_title(self.title) != self.title:
            raise InputError("AE title: leading and trailing spaces are not significant, leave them out")
        if not _is_host(self.host):
            raise InputError("AE host: expected a host name or an address")
        if self.port not in PORT_RANGE:
            raise InputError("AE port: expected 1 to 65535")
        for address in self.addresses:
            try:
                _network(address)
            except ValueError as error:
                raise InputError(f"AE address {address}: expected an IP address or network (CIDR)") from error

    def may_call_from(self, address: str) -> bool:
        """Whether an inbound connection from this IP address may claim the title."""
        ip = ipaddress.ip_address(address)
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        return any((mapped or ip) in _network(network) for network in self.addresses)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host  # RFC 3986 §3.2.2, as commands take it
        return f"{self.title}@{host}:{self.port}"


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        labels = text.removesuffix(".").split(".")
        numeric = labels[-1].isdigit()  # 10.0.0.256 is a mistyped address, not a name
        return not numeric and len(text) <= HOST_LIMIT_CHARACTERS and all(map(_HOST_LABEL.fullmatch, labels))
    return True


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """The network in CIDR form; the IPv4 network when it is one written as IPv6. Raises ValueError."""
    network = ipaddress.ip_network(text, strict=False)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < _MAPPED_PREFIX_BITS:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED_PREFIX_BITS))
