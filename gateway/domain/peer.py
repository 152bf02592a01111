"""DICOM application entities and the addresses they may call from."""

import ipaddress
import re
from dataclasses import dataclass

from gateway.errors import InputError

_AE_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")
PORT_RANGE = range(1, 65536)


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
        if not self.host or any(c.isspace() for c in self.host):
            raise InputError("AE host: expected a host name or an address")
        if self.port not in PORT_RANGE:
            raise InputError("AE port: expected 1 to 65535")
        for address in self.addresses:
            try:
                ipaddress.ip_network(address, strict=False)
            except ValueError as error:
                raise InputError(f"AE address {address}: expected an IP address or network (CIDR)") from error

    def may_call_from(self, address: str) -> bool:
        """Whether an inbound connection from this IP address may claim the title."""
        ip = ipaddress.ip_address(address)
        mapped = getattr(ip, "ipv4_mapped", None)
        ip = mapped or ip
        return any(ip in ipaddress.ip_network(network, strict=False) for network in self.addresses)

    def __str__(self) -> str:
        return f"{self.title}@{self.host}:{self.port}"
