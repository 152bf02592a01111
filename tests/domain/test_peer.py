"""Application entities: titles, hosts, and the addresses they may call from."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.peer import ApplicationEntity, ae_title
from gateway.errors import InputError
from tests.build import HOSPITAL_A


def peer(*addresses: str) -> ApplicationEntity:
    return ApplicationEntity("PACS", HOSPITAL_A, "192.0.2.1", 104, addresses)


@pytest.mark.parametrize("text", ["PACS", "a", "A" * 16, "MY PACS", "A.B-C_D/1", "~!@"])
def test_ae_titles(text: str) -> None:
    assert ae_title(text) == text
    assert ae_title(f"  {text} ") == text


@pytest.mark.parametrize("text", ["", " ", "A" * 17, "A\\B", "A\tB", "A\n", "\x00", "병원", "A\u00a0B", "\x7f"])
def test_ae_titles_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="AE title"):
        ae_title(text)


def test_spaces_around_a_registered_title_are_refused() -> None:
    with pytest.raises(InputError, match="spaces"):
        ApplicationEntity(" PACS", HOSPITAL_A, "host", 104)


@pytest.mark.parametrize("host", ["pacs", "pacs.hospital.example", "192.0.2.1", "2001:db8::1", "::1", "a-b.c"])
def test_hosts(host: str) -> None:
    assert ApplicationEntity("PACS", HOSPITAL_A, host, 104).host == host


@pytest.mark.parametrize(
    "host",
    ["", " ", "a b", "a\x00b", "a\n", "x" * 64, "a..b", ".a", "-a", "256.0.0.1", "a/b", "병원", "a" * 63 + ".b" * 100],
)
def test_hosts_that_are_none(host: str) -> None:
    with pytest.raises(InputError, match="AE host"):
        ApplicationEntity("PACS", HOSPITAL_A, host, 104)


@pytest.mark.parametrize(("host", "text"), [("pacs", "PACS@pacs:104"), ("::1", "PACS@[::1]:104")])
def test_it_is_written_as_commands_take_it(host: str, text: str) -> None:
    assert str(ApplicationEntity("PACS", HOSPITAL_A, host, 104)) == text


@pytest.mark.parametrize("port", [1, 104, 11112, 65535])
def test_ports(port: int) -> None:
    assert ApplicationEntity("PACS", HOSPITAL_A, "host", port).port == port


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_ports_that_are_none(port: int) -> None:
    with pytest.raises(InputError, match="AE port"):
        ApplicationEntity("PACS", HOSPITAL_A, "host", port)


@pytest.mark.parametrize("address", ["", "x", "10.0.0.0/33", "10.0.0.256", "::1/129", "10.0.0.0/8/8"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(InputError, match="AE address"):
        peer(address)


@pytest.mark.parametrize(
    ("networks", "address", "allowed"),
    [
        ((), "127.0.0.1", False),
        (("127.0.0.1",), "127.0.0.1", True),
        (("127.0.0.1",), "127.0.0.2", False),
        (("10.1.0.0/16",), "10.1.255.255", True),
        (("10.1.0.0/16",), "10.2.0.0", False),
        (("10.1.2.3/16",), "10.1.9.9", True),  # host bits are no mistake
        (("10.0.0.1", "10.0.0.3"), "10.0.0.3", True),
        (("2001:db8::/32",), "2001:db8:1::7", True),
        (("2001:db8::/32",), "2001:db9::7", False),
        (("fe80::/10",), "fe80::1%eth0", True),
        (("10.0.0.0/8",), "::ffff:10.1.2.3", True),  # a listener on :: sees IPv4 peers so
        (("10.0.0.0/8",), "::ffff:11.1.2.3", False),
        (("::ffff:10.0.0.0/104",), "10.1.2.3", True),
        (("::ffff:10.0.0.0/104",), "::ffff:10.1.2.3", True),
        (("::ffff:10.0.0.0/104",), "11.1.2.3", False),
        (("::/0",), "2001:db8::1", True),
        (("0.0.0.0/0",), "2001:db8::1", False),
        (("::/0",), "10.0.0.1", False),  # every IPv6 address, as written
    ],
)
def test_who_may_call(networks: tuple[str, ...], address: str, allowed: bool) -> None:
    assert peer(*networks).may_call_from(address) is allowed


@given(st.ip_addresses(v=4), st.integers(0, 32), st.ip_addresses(v=4))
def test_mapped_addresses_are_the_ipv4_addresses_they_hold(
    base: ipaddress.IPv4Address, length: int, caller: ipaddress.IPv4Address
) -> None:
    network = f"{base}/{length}"

    allowed = peer(network).may_call_from(str(caller))

    assert allowed == (caller in ipaddress.ip_network(network, strict=False))
    assert peer(network).may_call_from(f"::ffff:{caller}") == allowed
    assert peer(f"::ffff:{base}/{96 + length}").may_call_from(str(caller)) == allowed


def test_peer_says_where_it_is() -> None:
    assert str(peer()) == "PACS@192.0.2.1:104"
