"""Who the client is, where somebody else may have passed its request on. Nothing in this module does I/O or raises.

What a request says of who sent it is believed only as far as those who passed it on are trusted: each of them puts down
whom it heard it from, so the list is read from its end, and ends at the first who is not trusted. All before that is
the client's own invention. An address is told in its normal form (RFC 5952), IPv4 within IPv6 as IPv4.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST = 64
"""Characters of an address with its zone; what is longer is none."""
MOST_PORT = 65_535
MOST_HOPS = 1000
"""That are looked at, some 10 ms. Of a longer list nothing is believed."""

_ZONE = re.compile(r"[0-9A-Za-z._~-]{1,32}")
_PORT = r"(?::(?P<port>[0-9]{1,5}))?"
_NODE = re.compile(rf"(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<ipv4>[0-9.]+)){_PORT}")
_OBFUSCATED_PORT = re.compile(r":_[A-Za-z0-9._-]+\Z")
"""RFC 7239 §6: it tells nothing, and is allowed."""
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"  # noqa: S105 - RFC 9110 §5.6.2
_PAIR = re.compile(rf"[ \t]*+(?:(?P<name>{_TOKEN})=(?P<value>{_TOKEN}|\"(?:[^\"\\]|\\.)*+\")[ \t]*+)?(?P<end>[;,]|\Z)")
_QUOTED = re.compile(r"\\(.)")


def peer_of(peername: object) -> str:
    """The address in what a socket says of its other end, in normal form; empty where there is none."""
    if isinstance(peername, tuple) and peername and isinstance(peername[0], str):
        return normal(peername[0])
    return ""


def normal(text: str) -> str:
    """The one form of an address; empty for what is none. The zone of a link-local one means nothing elsewhere."""
    address = _address(text)
    return "" if address is None else str(address)


def trusting(trusted: Sequence[Network]) -> Callable[[str], bool]:
    """Whether an address is among them, however it is written; what is no address never is."""

    def trusts(text: str) -> bool:
        address = _address(text)
        return address is not None and _is_among(address, trusted)

    return trusts


def client_address(peer: str, headers: Iterable[tuple[str, str]], trusted: Sequence[Network]) -> str:
    """The address of whoever sent a request, in normal form; ``peer`` is the other end of its connection.

    That is the peer, unless it is trusted and says, in ``X-Forwarded-For`` or ``Forwarded`` (RFC 7239), whom it speaks
    for: then the last one in that list who is not trusted, or the first of all where everybody is. It is the peer again
    where that cannot be told: something on the way there is no address, or both are there and disagree.
    """
    here = _address(peer)
    if here is None:
        return ""
    if not _is_among(here, trusted):
        return str(here)
    lines: dict[str, list[str]] = {}
    for name, value in headers:
        if (name := name.lower()) in _READERS:
            lines.setdefault(name, []).append(value)
    said = {_claimed(_READERS[name](values), trusted) for name, values in lines.items()}
    only = said.pop() if len(said) == 1 else None
    return str(only or here)


def _claimed(hops: Iterable[Address | None], trusted: Sequence[Network]) -> Address | None:
    """The first of the hops, told from the nearest on, who is not trusted; None where it cannot be told."""
    hop = None
    for number, hop in enumerate(hops):
        if hop is None or not _is_among(hop, trusted):
            break
        if number >= MOST_HOPS:
            return None
    return hop


def _is_among(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _x_forwarded_for(lines: Sequence[str]) -> Iterator[Address | None]:
    """Every hop, the nearest first; None for what is no address."""
    for line in reversed(lines):
        for node in reversed(line.split(",")):
            text = node.strip(" \t")
            yield _address(text) or _of_node(text)


def _forwarded(lines: Sequence[str]) -> Iterator[Address | None]:
    """As ``_x_forwarded_for``. A line that is not as RFC 7239 §4 has it is one hop of whom nothing is known."""
    for line in reversed(lines):
        nodes = _nodes(line)
        if nodes is None:
            yield None
            return
        for node in reversed(nodes):
            yield _of_node(_OBFUSCATED_PORT.sub("", node))


_READERS = {"x-forwarded-for": _x_forwarded_for, "forwarded": _forwarded}


def _nodes(line: str) -> list[str] | None:
    """What each element of a ``Forwarded`` says in ``for=``, or nothing; None where the line is malformed."""
    nodes: list[str] = []
    node: str | None = None
    position = 0
    while (pair := _PAIR.match(line, position)) is not None:
        if (pair["name"] or "").lower() == "for":
            if node is not None:
                return None  # RFC 7239 §4: each parameter once in an element.
            node = pair["value"]
        if pair["end"] != ";":
            nodes.append(_unquoted(node or ""))
            node = None
        if not pair["end"]:
            return nodes
        position = pair.end()
    return None


def _unquoted(value: str) -> str:
    return _QUOTED.sub(r"\1", value[1:-1]) if value.startswith('"') else value


def _of_node(text: str) -> Address | None:
    """An address with or without a port, IPv6 in brackets; None for ``unknown`` and whatever else is none."""
    node = _NODE.fullmatch(text)
    if node is None or int(node["port"] or 0) > MOST_PORT:
        return None
    address = _address(node["ipv6"] or node["ipv4"])
    return None if node["ipv6"] and ":" not in node["ipv6"] else address


def _address(text: str) -> Address | None:
    host, percent, zone = text.partition("%")
    if len(text) > LONGEST or (percent and (":" not in host or not _ZONE.fullmatch(zone))):
        return None
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
