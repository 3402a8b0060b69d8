"""The Host field (RFC 9110 §7.2), whose text goes nowhere."""

from tests.security.vectors.case import AUTH, MARK, VERSION, Case, grouped, served, text_of, turned_away

WRONG = {
    "empty": b"",
    "a blank within": b"gate example",
    "a tab within": b"gate\texample",
    "a path, a query and more": b"a/../b?c#d@e",
    "a path": b"gate.example/ZQCANARY",
    "a scheme": b"http://gate.example",
    "a user": b"ZQCANARY@gate.example",
    "a port too high": b"gate.example:65536",
    "a port far too high": b"a:99999",
    "a port of six digits": b"a:000080",
    "a port without digits": b"gate.example:",
    "a port in letters": b"gate.example:http",
    "a negative port": b"gate.example:-1",
    "two ports": b"gate.example:80:80",
    "only a port": b":80",
    "two names": b"gate.example, evil.example",
    "a semicolon": b"gate.example;a",
    "a byte of ones": b"\xff",
    "UTF-8": b"g\xc3\xa4te.example",
    "percent-encoded": b"gate%2eexample",
    "a name of 254 letters": b"a" * 254,
    "IPv6 without brackets": b"::1",
    "IPv6 that never ends": b"[::1",
    "IPv6 and more": b"[::1]a",
    "IPv6 with a zone": b"[fe80::1%25eth0]",
    "IPv6 with too many parts": b"[1:2:3:4:5:6:7:8:9]",
    "IPv6 of the future": b"[v1.a]",
    "empty brackets": b"[]",
    "IPv4 in brackets": b"[127.0.0.1]",
    "an asterisk": b"*",
    "a backslash": b"gate.example\\a",
    "a quotation mark": b'"gate.example"',
    "a brace": b"{gate}",
    "a list of hosts": b"gate.example,",
    "two dots in a row": b"gate..example",
    "two dots in a row and a port": b"gate..:80",
}
GOOD = {
    "an address": b"127.0.0.1",
    "an address and a port": b"127.0.0.1:11435",
    "IPv6": b"[::1]",
    "IPv6 and a port": b"[::1]:11435",
    "capitals": b"GATE.EXAMPLE",
    "somebody else's name": b"ZQCANARY.evil.example",
    "a name of one letter": b"a",
    "a port of zero": b"gate.example:0",
    "the highest port": b"gate.example:65535",
    "a dot at the end": b"gate.example.",
    "an underscore": b"a_b",
    "the address where Ollama's own cloud is": b"169.254.169.254",
    "blanks around it": b"  gate.example \t",
}


def _with(host: bytes) -> bytes:
    return text_of((VERSION, b"Host: " + host, AUTH, MARK))


CASES: tuple[Case, ...] = grouped(
    "host",
    [
        *(turned_away(name, _with(host), 400, "host") for name, host in WRONG.items()),
        *(served(name, _with(host)) for name, host in GOOD.items()),
        turned_away("two", _with(b"gate.example\r\nHost: evil.example"), 400, "field_twice"),
        turned_away("two that say it otherwise", _with(b"gate.example\r\nhOST: gate.example"), 400, "field_twice"),
    ],
)
