from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.addresses import hashed
from proxy.limits.strangers import network
from proxy.web.addresses import MOST_HOPS, Network, client_address, normal, peer_of, trusting

PROXY = "10.0.0.1"
TRUSTED: tuple[Network, ...] = (IPv4Network("10.0.0.0/8"), IPv6Network("fd00::/8"))
CLIENT = "198.51.100.7"


def told(*headers: tuple[str, str], peer: str = PROXY) -> str:
    return client_address(peer, headers, TRUSTED)


def behind(*lines: str) -> str:
    """Who it is by these lines of X-Forwarded-For, from a trusted proxy."""
    return told(*(("X-Forwarded-For", line) for line in lines))


def forwarded(*lines: str) -> str:
    return told(*(("Forwarded", line) for line in lines))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("::FFFF:c633:6407", "198.51.100.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("198.51.100.7%eth0", ""),
        ("fe80::1%", ""),
        ("fe80::1%a b", ""),
        ("198.51.100.07", ""),
        ("198.51.100", ""),
        ("\u0661.2.3.4", ""),
        (" 198.51.100.7", ""),
        ("", ""),
        ("gate.example", ""),
    ],
)
def test_an_address_has_one_form(text: str, expected: str) -> None:
    assert expected == normal(text)


@pytest.mark.parametrize(
    ("peername", "expected"),
    [
        (("198.51.100.7", 1234), "198.51.100.7"),
        (("::ffff:198.51.100.7", 1234, 0, 0), "198.51.100.7"),
        (("fe80::1%eth0", 1234, 0, 2), "fe80::1"),
        ("", ""),
        (b"\0abstract", ""),
        (None, ""),
        ((), ""),
        ((7, "a"), ""),
    ],
)
def test_the_other_end_of_a_socket_has_an_address_or_none(peername: object, expected: str) -> None:
    assert expected == peer_of(peername)


@given(st.ip_addresses())
def test_the_ledger_and_the_limits_tell_an_address_in_normal_form_from_others_as_before(address: object) -> None:
    text = str(address)

    assert hashed(text, b"secret") == hashed(normal(text), b"secret")
    assert network(text) == network(normal(text))


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X_Forwarded_For"])
@pytest.mark.parametrize("value", ["127.0.0.1", 'for="[::1]"', "for=127.0.0.1", "garbage", ""])
def test_whoever_is_not_trusted_speaks_for_nobody(name: str, value: str) -> None:
    assert CLIENT == told((name, value), peer=CLIENT)
    assert CLIENT == client_address(CLIENT, [(name, value)], ())


@pytest.mark.parametrize("name", ["X-Real-IP", "X_Forwarded_For", "X-Forwarded-For2", "Via", "True-Client-IP"])
def test_only_two_headers_are_believed_even_of_who_is_trusted(name: str) -> None:
    assert PROXY == told((name, CLIENT), (name, f"for={CLIENT}"))


def test_a_proxy_that_says_nothing_is_the_client_itself() -> None:
    assert PROXY == told()


def test_the_last_who_is_not_trusted_is_the_client_whatever_it_made_up_before() -> None:
    assert CLIENT == behind(CLIENT)
    assert CLIENT == behind(f"127.0.0.1, {CLIENT}")
    assert CLIENT == behind(f"127.0.0.1, {CLIENT}, 10.9.9.9, fd00::7")
    assert CLIENT == behind(f"10.0.0.2,{CLIENT}\t,10.0.0.3")
    assert CLIENT == forwarded(f"for=127.0.0.1, for={CLIENT};proto=https;by=10.0.0.1, for=10.9.9.9")


def test_garbage_that_the_client_put_before_its_own_address_means_nothing() -> None:
    assert CLIENT == behind(f"unknown, , 1.2.3.4:99999, {CLIENT}, 10.0.0.2")
    assert CLIENT == behind("\x00\xff", f"{CLIENT}")


def test_lines_are_read_as_one_list_in_their_order() -> None:
    assert CLIENT == behind("203.0.113.9", f"203.0.113.8, {CLIENT}", "10.0.0.2")
    assert CLIENT == forwarded("for=203.0.113.9", f"for={CLIENT}", "for=10.0.0.2")


def test_where_everybody_on_the_way_is_trusted_the_first_of_them_is_the_client() -> None:
    assert "10.7.7.7" == behind("10.7.7.7, 10.0.0.2")


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("198.51.100.7:4711", CLIENT),
        ("[::ffff:198.51.100.7]:80", CLIENT),
        ("[2001:DB8::7]", "2001:db8::7"),
        ("[2001:db8::7]:65535", "2001:db8::7"),
        ("[fe80::7%eth0]", "fe80::7"),
    ],
)
def test_a_hop_may_have_a_port_brackets_a_zone_or_be_ipv4_within_ipv6(node: str, expected: str) -> None:
    assert expected == behind(node)
    assert expected == forwarded(f'for="{node}"')


@pytest.mark.parametrize("node", ["2001:db8::7", "::ffff:198.51.100.7", "fe80::7%eth0"])
def test_ipv6_needs_its_brackets_in_forwarded_alone(node: str) -> None:
    assert normal(node) == behind(node)
    assert PROXY == forwarded(f'for="{node}"')


MALFORMED = [
    "unknown",
    "",
    "_hidden",
    "gate.example",
    "1.2.3.4:99999",
    "1.2.3.4:",
    "1.2.3.4:-1",
    "1.2.3.4:\u0663",
    "1.2.3.4.5",
    "01.2.3.4",
    "[1.2.3.4]",
    "[2001:db8::7",
    "2001:db8::7]:80",
    "[[2001:db8::7]]",
    "1.2.3.4 5.6.7.8",
    "'1.2.3.4'",
    "\ud800",
    "1" * 5000,
]


@pytest.mark.parametrize("node", MALFORMED)
def test_where_a_hop_before_the_client_cannot_be_told_the_peer_is_the_client(node: str) -> None:
    assert PROXY == behind(f"{CLIENT}, {node}")
    assert PROXY == behind(f"{CLIENT}, {node}, 10.0.0.2")
    assert PROXY == forwarded(f'for={CLIENT}, for="{node}"')


@pytest.mark.parametrize(
    "line",
    [
        "for=unknown",
        "for=_SEVKISEK",
        'for="_gazonk:_port"',
        "proto=https",
        "",
        ",",
        ";",
        "for=1.2.3.4;for=5.6.7.8",
        "for=1.2.3.4;For=1.2.3.4",
        'for="1.2.3.4',
        "for 1.2.3.4",
        "for= 1.2.3.4",
        "for=1.2.3.4 by=5.6.7.8",
        'for="a, for=1.2.3.4"; x="',
        "for=2001:db8::7",
        "for=[2001:db8::7]",
        "for=" + " " * 8000 + "x",
        " " * 8000 + "x",
        'for="' + "\\" * 8000,
    ],
)
def test_a_line_of_forwarded_that_tells_nothing_leaves_the_peer(line: str) -> None:
    assert PROXY == forwarded(line)


def test_forwarded_is_read_as_rfc_7239_has_it() -> None:
    assert CLIENT == forwarded(f'For="{CLIENT}:47011";Proto=http')
    assert CLIENT == forwarded(f'for="{CLIENT}:_port"; host="a, for=1.2.3.4";by=_me')
    assert CLIENT == forwarded(r'for="198\.51.100.7"')
    assert "2001:db8:cafe::17" == forwarded('for=192.0.2.60, FOR="[2001:db8:cafe::17]:4711"')


def test_two_headers_that_say_the_same_are_believed_and_two_that_do_not_are_not() -> None:
    same = ("Forwarded", f"for={CLIENT};proto=https")

    assert CLIENT == told(("x-forwarded-for", CLIENT), same)
    assert CLIENT == told(("X-FORWARDED-FOR", f"{CLIENT}, 10.0.0.2"), same)
    assert PROXY == told(("X-Forwarded-For", "203.0.113.9"), same)
    assert PROXY == told(("X-Forwarded-For", "garbage"), same)
    assert PROXY == told(("X-Forwarded-For", CLIENT), ("Forwarded", "for=unknown"))


def test_a_trusted_peer_within_ipv6_is_trusted() -> None:
    assert CLIENT == told(("X-Forwarded-For", CLIENT), peer="::ffff:10.0.0.1")


def test_what_has_no_address_has_none_whatever_it_says() -> None:
    assert "" == told(("X-Forwarded-For", CLIENT), peer="")


def test_five_hundred_hops_are_followed_as_far_as_they_are_trusted() -> None:
    hops = ", ".join(["203.0.113.9"] * 250 + [CLIENT] + ["10.0.0.2"] * 250)

    assert CLIENT == behind(hops)
    assert CLIENT == behind(*hops.split(", "))
    assert CLIENT == forwarded(", ".join(f"for={hop}" for hop in hops.split(", ")))


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded"])
def test_a_list_without_end_is_not_followed(name: str) -> None:
    hop = "10.0.0.2" if name == "X-Forwarded-For" else "for=10.0.0.2"

    assert "10.0.0.2" == told((name, ", ".join([hop] * MOST_HOPS)))
    assert PROXY == told((name, ", ".join([hop] * (MOST_HOPS + 1))))
    assert PROXY == told(*[(name, ", ".join([hop] * 500))] * 128)


NODES = st.one_of(
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]:443"),
    st.ip_addresses(v=4, network="10.0.0.0/8").map(str),
    st.sampled_from(MALFORMED),
    st.text(max_size=20),
)


@given(
    st.one_of(st.ip_addresses().map(str), st.just(PROXY), st.text(max_size=30)),
    st.lists(
        st.tuples(
            st.sampled_from(["X-Forwarded-For", "x-forwarded-for", "Forwarded", "Via"]),
            st.one_of(
                st.lists(NODES).map(", ".join),
                st.lists(NODES.map('for="{}"'.format)).map(",".join),
                st.text(alphabet='for=",;[]:\\ \t%_1a', max_size=60),
                st.text(max_size=40),
            ),
        ),
        max_size=4,
    ),
)
def test_whatever_a_request_says_there_is_an_address_or_none_and_no_error(
    peer: str, headers: list[tuple[str, str]]
) -> None:
    found = client_address(peer, headers, TRUSTED)

    assert found == normal(found)
    assert bool(found) is bool(normal(peer))


@given(st.lists(NODES, max_size=6), st.ip_addresses().map(str).map(normal), st.integers(0, 5))
def test_nobody_can_be_somebody_else_however_their_list_begins(made_up: list[str], client: str, proxies: int) -> None:
    """Each proxy puts whom it heard it from at the end, as all of them do."""
    chain = ", ".join([*made_up, client, *["10.0.0.2"] * proxies])
    is_trusted = any(ip_address(client) in one for one in TRUSTED)

    assert is_trusted or client == behind(chain)


@given(st.text(alphabet='for=",;[]:\\ 1.\t', max_size=40), st.ip_addresses(v=4).map(str))
def test_with_forwarded_nobody_is_more_than_hidden_behind_the_proxy(made_up: str, client: str) -> None:
    is_trusted = ip_address(client) in TRUSTED[0]

    assert is_trusted or forwarded(f"{made_up}, for={client}") in (client, PROXY)


def test_the_networks_of_the_tests_hold_what_they_should() -> None:
    assert IPv6Address("fd00::7") in TRUSTED[1]
    assert ip_network("10.0.0.0/8") == TRUSTED[0]


@pytest.mark.parametrize(
    ("text", "is_trusted"),
    [
        ("10.9.9.9", True),
        ("::ffff:10.9.9.9", True),
        ("fd00::1%eth0", True),
        ("11.0.0.1", False),
        ("", False),
        ("x", False),
    ],
)
def test_who_is_trusted_can_be_asked_alone(text: str, is_trusted: bool) -> None:
    assert is_trusted is trusting(TRUSTED)(text)
    assert not trusting(())(text)
