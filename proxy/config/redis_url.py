"""Where a Redis is, read from its URL. Never says what was written, which may hold a password; connects to nothing."""

import re
from collections.abc import Mapping
from urllib.parse import unquote

from proxy.config.addresses import host_and_port, is_loopback
from proxy.config.kinds import is_placeholder
from proxy.vocabulary import RedisAddress

_USUAL_PORT = 6379
_SENTINELS_PORT = 26379
SHAPES = {
    "redis": "redis://[user:password@]host[:port][/number]",
    "rediss": "rediss://[user:password@]host[:port][/number]",
    "redis+sentinel": "redis+sentinel://[user:password@]host[:port],host[:port]/service[/number]",
    "rediss+sentinel": "rediss+sentinel://[user:password@]host[:port],host[:port]/service[/number]",
    "redis+cluster": "redis+cluster://[user:password@]host[:port],host[:port]",
    "rediss+cluster": "rediss+cluster://[user:password@]host[:port],host[:port]",
    "unix": "unix:///path/of/the.sock",
}
QUERIES = {
    "ssl_ca_certs": "ssl_ca_certs=/path/of/the.pem",
    "sentinel_username": "sentinel_username=user",
    "sentinel_password": "sentinel_password=password",
}
"""What may follow after a question mark: the first with TLS, the others where there are sentinels."""
_SHORTEST_PASSWORD = 8
_NUMBER = re.compile("[0-9]{1,5}")
_SERVICE = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_IN_THE_WAY = re.compile(r"[?#\s]|%(?![0-9A-Fa-f]{2})")


class OpenToAll(ValueError):
    """Whoever reaches this Redis could read and change what the gate keeps there."""


def is_open_to_all(address: RedisAddress) -> bool:
    """Whether other machines reach it, and nothing stands in the way of reading along or of guessing."""
    is_guessed = len(address.password) < _SHORTEST_PASSWORD or is_placeholder(address.password)
    return not address.tls and is_guessed and not all(is_loopback(host) for host, _ in address.hosts)


def redis_address(url: str) -> RedisAddress:
    """ValueError says what would be right."""
    scheme, divider, rest = url.partition("://")
    if not divider or scheme not in SHAPES:
        raise ValueError(f"should begin with one of {', '.join(f'{one}://' for one in SHAPES)}")
    try:
        return _address(scheme, rest)
    except ValueError:
        problem = f"should be of the form {form(scheme)}, with other signs of a password as %40 for @"
        raise ValueError(problem) from None


def form(scheme: str) -> str:
    """All that a URL may have."""
    queries = [QUERIES[name] for name in _names(scheme)]
    return f"{SHAPES[scheme]}[?{'&'.join(queries)}]" if queries else SHAPES[scheme]


def _names(scheme: str) -> list[str]:
    """Of those in the query that make sense."""
    of_tls = ["ssl_ca_certs"] if scheme.startswith("rediss") else []
    return of_tls + (["sentinel_username", "sentinel_password"] if scheme.endswith("+sentinel") else [])


def _address(scheme: str, text: str) -> RedisAddress:
    """What is wrong is not said: ValueError is enough, here and below."""
    rest, mark, query = text.partition("?")
    if not text.isprintable() or _IN_THE_WAY.search(rest) or _IN_THE_WAY.search(query):
        raise ValueError
    told = _told(query, _names(scheme)) if mark else {}
    if scheme == "unix":
        if "@" in rest:
            raise ValueError
        return RedisAddress(socket=_path(unquote(rest)))
    authority, *path = rest.removesuffix("/").split("/")
    secret, at, hosts = authority.rpartition("@")
    user, colon, password = secret.partition(":")
    kind = scheme.partition("+")[2]
    service = path.pop(0) if kind == "sentinel" and path else ""
    number = path.pop(0) if kind != "cluster" and path else "0"
    if (
        path
        or (at and not (colon and password))
        or "@" in secret
        or (kind == "sentinel" and not _SERVICE.fullmatch(service))
        or (not kind and "," in hosts)
        or not _NUMBER.fullmatch(number)
        or ("sentinel_username" in told and "sentinel_password" not in told)
    ):
        raise ValueError
    usual_port = _SENTINELS_PORT if kind == "sentinel" else _USUAL_PORT
    return RedisAddress(
        hosts=tuple(_host(host, usual_port) for host in hosts.split(",")),
        user=unquote(user),
        password=unquote(password),
        tls=scheme.startswith("rediss"),
        authorities=_path(told["ssl_ca_certs"]) if "ssl_ca_certs" in told else "",
        number=int(number),
        service=service,
        sentinel_user=told.get("sentinel_username", ""),
        sentinel_password=told.get("sentinel_password", ""),
        cluster=kind == "cluster",
    )


def _told(query: str, names: list[str]) -> Mapping[str, str]:
    """Each name once, and none without a value."""
    told = [one.partition("=") for one in query.split("&")]
    values = {name: unquote(value) for name, _, value in told}
    if len(values) < len(told) or not values.keys() <= set(names) or not all(values.values()):
        raise ValueError
    return values


def _path(text: str) -> str:
    if not text.startswith("/") or text == "/" or not text.isprintable():
        raise ValueError
    return text


def _host(text: str, usual_port: int) -> tuple[str, int]:
    has_port = not text.endswith("]") and ":" in text
    host, port = host_and_port(text if has_port else f"{text}:{usual_port}")
    if not port:
        raise ValueError
    return host, port
