from __future__ import annotations

import pytest

from pgcast.auth.proxies import MAX_HOPS, Origin, TrustedProxies

PROXIES = TrustedProxies(["10.0.0.0/8", "::1", "192.0.2.7"])
PROXY, OTHER, CLIENT = "10.1.2.3", "192.0.2.7", "203.0.113.9"


def address(peer: str, *forwarded_for: str, proxies: TrustedProxies = PROXIES) -> str:
    return proxies.origin_of(peer, forwarded_for, []).address


def test_without_trusted_proxies_nobody_is_believed():
    assert TrustedProxies().origin_of(PROXY, [CLIENT], ["https"]) == Origin(PROXY)
    assert address("127.0.0.1", CLIENT, proxies=TrustedProxies()) == "127.0.0.1"


def test_somebody_who_is_no_proxy_is_not_believed():
    assert PROXIES.origin_of("198.51.100.1", [CLIENT], ["https"]) == Origin("198.51.100.1")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((), PROXY),
        ((CLIENT,), CLIENT),
        ((f"1.1.1.1, {CLIENT}",), CLIENT),  # what the client wrote itself stands further left
        ((f"1.1.1.1, {CLIENT}, {OTHER}",), CLIENT),
        ((f"1.1.1.1, {CLIENT}", OTHER), CLIENT),  # two headers are one list
        ((f"{OTHER},10.0.0.1",), OTHER),  # proxies alone: the outermost calls on its own behalf
        ((f"{CLIENT}:4711",), CLIENT),
        (("[2001:db8::1]:443",), "2001:db8::1"),
        (("2001:db8::1",), "2001:db8::1"),
        (("::ffff:203.0.113.9",), CLIENT),
        ((f"{CLIENT}, unknown",), PROXY),  # what no proxy of ours would write ends the reading
        ((f"{CLIENT}, unknown, {OTHER}",), OTHER),
        (("",), PROXY),
        ((", ,",), PROXY),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_no_proxy(headers: tuple[str, ...], expected: str):
    assert address(PROXY, *headers) == expected


@pytest.mark.parametrize("peer", ["::ffff:10.1.2.3", "10.1.2.3", "::1"])
def test_a_proxy_is_known_by_whatever_form_its_address_has(peer: str):
    assert address(peer, CLIENT) == CLIENT


def test_a_list_is_not_read_for_ever():
    endless = ",".join([CLIENT, *["10.0.0.1"] * 100_000])
    assert address(PROXY, endless) == "10.0.0.1"
    assert address(PROXY, *["10.0.0.1"] * 5_000) == "10.0.0.1"
    longest = ",".join([CLIENT, *["10.0.0.1"] * (MAX_HOPS - 1)])
    assert address(PROXY, longest) == CLIENT


@pytest.mark.parametrize(
    ("headers", "scheme"),
    [([], None), (["https"], "https"), (["HTTP"], "http"), (["http, https"], "https"), (["wss"], None)],
)
def test_the_scheme_is_what_the_nearest_proxy_says(headers: list[str], scheme: str | None):
    assert PROXIES.origin_of(PROXY, [CLIENT], headers).scheme == scheme


def test_a_peer_without_an_address_is_left_as_it_is():
    assert address("", CLIENT) == ""
    assert address("testclient", CLIENT) == "testclient"


def test_what_is_no_network_is_refused():
    with pytest.raises(ValueError, match="host bits set"):
        TrustedProxies(["10.0.0.1/8"])
