import pytest

from minipacs.net.wire.addresses import is_loopback, read_address, read_network


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("10.0.0.1%eth0", ""),
        ("localhost", ""),
        ("", ""),
    ],
)
def test_an_address_is_read_as_what_it_is(text: str, address: str):
    assert str(read_address(text) or "") == address


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.5/24", "10.0.0.0/24"),
        ("10.0.0.5", "10.0.0.5/32"),
        ("::ffff:10.0.0.0/120", "10.0.0.0/24"),
        ("::/0", "::/0"),
        ("ct1.example", ""),
    ],
)
def test_a_network_is_read_as_what_it_is(text: str, network: str):
    assert str(read_network(text) or "") == network


@pytest.mark.parametrize("text", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_this_machines_own_addresses(text: str):
    assert is_loopback(text)


@pytest.mark.parametrize("text", ["10.0.0.1", "::", "0.0.0.0", "localhost", ""])
def test_no_addresses_of_this_machine_alone(text: str):
    assert not is_loopback(text)
