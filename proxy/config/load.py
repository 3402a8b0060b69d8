"""From the command line, the environment and a file to Settings, or to every mistake at once.

Pure but for the reader of secret files, which is an argument like all the rest.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr, ValidationError

from proxy.config import keys, written
from proxy.config.issuers import OneSource, OpenWire
from proxy.config.kinds import listed
from proxy.config.layers import Credentials, Environment, File, Flags, Layer, Mistake, Mistakes, SecretFiles, together
from proxy.config.ledger import FOREVER
from proxy.config.limits import NeedsRate
from proxy.config.plans import NeedsOwner, setting_as_written
from proxy.config.redis_url import OpenToAll
from proxy.config.settings import AsksItself, NeedsRedis, NobodyTrusted, NoSuchPlan, Settings
from proxy.config.tls import HalfOfTls
from proxy.vocabulary import Setting

__all__ = ["Loaded", "Mistake", "Mistakes", "as_written", "effective", "load"]

_SIZES = ("body_rate", "max_body", "max_size", "spool")
_LENGTHS_OF_KEEPING = ("keep", "usage_log_keep")
_OWNERS_OF_NAMES = {"issuers": "an issuer"}
_CURES: Mapping[type, str] = {
    OpenWire: "https://, or insecure = true for this issuer if nobody else can reach the wire",
    OneSource: "one of jwks_url, key_file, secret and secret_file, or none of them for OIDC discovery",
    NobodyTrusted: "proxy_protocol = false, or the addresses of the proxies in trusted_proxies",
    NoSuchPlan: "a plan that is described under [plans], or default",
    AsksItself: "another host or port than that of listen",
    NeedsOwner: "leave them out, or say owner = true in this plan if its keys are only for the owner of the box",
    NeedsRedis: "the address of a Redis in redis_url, or workers = 1",
    NeedsRate: "say both, or leave the burst out",
    HalfOfTls: "certificate and key together, client_authorities with them, and client_required with all three",
    OpenToAll: "rediss://, or a password of 8 characters or more that nobody guesses; "
    "redis_insecure = true if only gates can reach it",
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """What holds, and who said so."""

    settings: Settings
    origins: Mapping[str, str]
    """By key, ``plans.lab.models`` for one; a key that nobody told is not here."""
    file: str | None = None


def load(
    *,
    text: str | None,
    file: str | None,
    environment: Mapping[str, str],
    flags: Mapping[str, str],
    read_secret: Callable[[str], str],
    check_pattern: Callable[[str], str] = str,
) -> Loaded:
    """Flags go before the environment, that before secret files, those before the file, and that before systemd's
    credentials. Raises ``Mistakes``.

    ``check_pattern`` gives the canonical form of a model pattern or raises ValueError.
    """
    layers: tuple[Layer, ...] = (
        Flags(flags),
        Environment(environment),
        SecretFiles(environment, read_secret),
        File(text, file),
    )
    layers = (*layers, Credentials(environment, read_secret, layers))
    mistakes = [mistake for layer in layers for mistake in layer.mistakes]

    settings: Settings | None = None
    try:
        settings = Settings(**together(layers))
    except ValidationError as error:
        mistakes += _explained(error, layers)
    mistakes += _wrong_patterns(layers, check_pattern)
    if mistakes or settings is None:
        raise Mistakes(mistakes)
    canonical = _canonical(settings, check_pattern)
    origins = {}
    # A pattern stands in a path as it was written, and is shown as it is compared.
    for (path, _), (shown, _) in zip(keys.told(settings), keys.told(canonical), strict=True):
        layer = _teller(path, layers)
        if layer is not None:
            origins[keys.dotted(shown)] = layer.origin(path)
    return Loaded(canonical, origins, file)


def effective(loaded: Loaded) -> list[tuple[str, str, str]]:
    """Each key, its value as people write it with secrets masked, and where it came from."""
    rows = ((keys.dotted(path), as_written(path[-1], value)) for path, value in keys.told(loaded.settings))
    return [(key, shown, loaded.origins.get(key, "default")) for key, shown in rows]


def as_written(name: str, value: Any) -> str:
    """A value as people write it; secrets are masked."""
    match value:
        case None:
            return FOREVER if name in _LENGTHS_OF_KEEPING else "(not set)"
        case SecretStr():
            return "********"
        case bool():
            return "true" if value else "false"
        case tuple():
            return ", ".join(map(str, value)) or "(none)"
        case dict():
            meant = ((one, said if isinstance(said, tuple) else (said,)) for one, said in value.items())
            return ", ".join(f"{one}={meaning}" for one, meanings in meant for meaning in meanings) or "(none)"
        case Setting():
            return setting_as_written(name, value)
        case float():
            return written.as_duration(value)
        case int() if name in _SIZES:
            return written.as_size(value)
    return str(value)


def _wrong_patterns(layers: Sequence[Layer], check: Callable[[str], str]) -> Iterator[Mistake]:
    """Looked for in what was told, so that they are found beside mistakes of other kinds."""
    names = {name for layer in layers if isinstance(plans := layer.told.get("plans"), dict) for name in plans}
    for path in (("plans", name, "models") for name in sorted(names)):
        layer = next((layer for layer in layers if layer.tells(path)), None)
        try:
            patterns = listed(layer.told["plans"][path[1]]["models"]) if layer else []
        except ValueError:
            continue  # Told already, as no list.
        for pattern in patterns if isinstance(patterns, list) else []:
            try:
                check(pattern if isinstance(pattern, str) else "*")
            except ValueError as error:
                yield _mistake(path, f"has {pattern!r} in it: {error}", keys.cure(path), layers)
    for layer in layers:
        seen: dict[tuple[keys.Path, str], str] = {}
        for table in _patterns(layer.told):
            *above, pattern = table
            try:
                first = seen.setdefault((tuple(above), check(pattern)), pattern)
            except ValueError as error:
                yield _mistake(table, str(error), keys.cure(table), layers)
            else:
                if first != pattern:
                    yield _mistake(table, f"is the same pattern as {first!r}", "keep one of the two", layers)


def _patterns(told: Any, above: keys.Path = ()) -> Iterator[keys.Path]:
    """The paths of the tables that are named by the pattern of a model."""
    for name, inner in told.items() if isinstance(told, dict) else ():
        path = (*above, name)
        if keys.is_pattern(path):
            yield path
        elif keys.is_branch(path):
            yield from _patterns(inner, path)


def _canonical(settings: Settings, check: Callable[[str], str]) -> Settings:
    plans = {
        name: plan.model_copy(update={"models": tuple(map(check, plan.models)), "limits": plan.limits.canonical(check)})
        for name, plan in settings.plans.items()
    }
    prices = {check(pattern): price for pattern, price in settings.prices.items()}
    return settings.model_copy(update={"plans": plans, "limits": settings.limits.canonical(check), "prices": prices})


def _explained(error: ValidationError, layers: Sequence[Layer]) -> Iterator[Mistake]:
    for detail in error.errors(include_url=False, include_input=False):
        is_name = detail["loc"][-1:] == ("[key]",)
        path = tuple(str(step) for step in detail["loc"][: -1 if is_name else None] if not isinstance(step, int))
        entry = next((step + 1 for step in detail["loc"] if isinstance(step, int)), None)
        problem = detail["msg"].removeprefix("Value error, ").replace("Input should", "should")
        cure = keys.cure(path)
        if detail["type"] == "missing":
            yield _mistake(path, "is not told, and has to be", cure, layers, above=True)
            continue
        if detail["type"] == "extra_forbidden":
            problem, cure = "is not a setting", keys.meant(path[-1], list(keys.table(path).model_fields))
        elif (kind := type(detail.get("ctx", {}).get("error"))) in _CURES:
            cure = _CURES[kind]
        elif detail["type"] in ("dict_type", "model_type"):
            problem = "should be a table"
        elif is_name:
            problem = f"is not a name for {_OWNERS_OF_NAMES.get(path[0], 'a plan')}"
            cure = "small letters and digits, with single - or _ between them, such as lab-2"
        yield _mistake(path, f"entry {entry} {problem}" if entry else problem, cure, layers)


def _mistake(path: keys.Path, problem: str, cure: str, layers: Sequence[Layer], *, above: bool = False) -> Mistake:
    """``above``: who told of the table that it is missing from is to be named."""
    layer = next((one for one in layers if one.tells(path[:-1])), None) if above else _teller(path, layers)
    if layer is None:
        return Mistake("default", keys.dotted(path), problem, cure)
    return Mistake(layer.where, layer.name(path), problem, cure)


def _teller(path: keys.Path, layers: Sequence[Layer]) -> Layer | None:
    """Who said it last, or who said what it is part of."""
    for end in range(len(path), 0, -1):
        for layer in layers:
            if layer.tells(path[:end]) and (end == len(path) or not keys.is_branch(path[:end])):
                return layer
    return None
