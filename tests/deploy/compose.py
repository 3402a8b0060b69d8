"""The compose files as compose reads them: variables filled in, files merged, and what no profile asks for left out.

As far as ours need it; where a real docker-compose is found, `test_compose.py` holds this against it.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "docker-compose.yml"
OVERRIDES = ROOT / "deploy/compose"
_REPLACED = ("command", "entrypoint", "test")
"""Lists that another file puts its own in place of; all others grow."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Missing(ValueError):
    """A variable that has to be told is not."""


def filled(text: str, variables: Mapping[str, str]) -> str:
    """With what ``$NAME``, ``${NAME:-else}``, ``${NAME:?why}`` and ``${NAME:+instead}`` stand for; ``$$`` is ``$``."""
    made, at = "", 0
    while at < len(text):
        if text[at] != "$":
            made, at = made + text[at], at + 1
        elif text.startswith("$$", at):
            made, at = made + "$", at + 2
        elif text.startswith("${", at):
            end = _closing(text, at + 2)
            made, at = made + _expanded(text[at + 2 : end], variables), end + 1
        else:
            name = _NAME.match(text, at + 1)
            if name is None:
                raise ValueError(f"a lone $ in {text!r}")
            made, at = made + variables.get(name[0], ""), name.end()
    return made


def _closing(text: str, at: int) -> int:
    depth = 1
    while depth:
        if text.startswith("${", at):
            depth, at = depth + 1, at + 1
        elif text[at] == "}":
            depth -= 1
        at += 1
    return at - 1


def _expanded(inside: str, variables: Mapping[str, str]) -> str:
    name = _NAME.match(inside)
    if name is None:
        raise ValueError(f"no name in {inside!r}")
    value, operator, rest = variables.get(name[0], ""), inside[name.end() : name.end() + 2], inside[name.end() + 2 :]
    match operator:
        case "":
            return value
        case ":-":
            return value or filled(rest, variables)
        case ":?":
            if not value:
                raise Missing(f"{name[0]} {rest}")
            return value
        case ":+":
            return filled(rest, variables) if value else ""
    raise ValueError(f"{operator} is none that we know, in {inside!r}")


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    match value:
        case str():
            return filled(value, variables)
        case dict():
            return {key: _filled(inner, variables) for key, inner in value.items()}
        case list():
            return [_filled(inner, variables) for inner in value]
    return value


def _merged(below: Any, above: Any, name: str = "") -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return {
            key: _merged(below[key], above[key], key)
            if key in below and key in above
            else above.get(key, below.get(key))
            for key in {**below, **above}
        }
    if isinstance(below, list) and isinstance(above, list) and name not in _REPLACED:
        return below + [one for one in above if one not in below]
    return above


def _in_full(service: dict[str, Any]) -> dict[str, Any]:
    """Short forms written out."""
    whole = deepcopy(service)
    for name in ("networks", "depends_on"):
        if isinstance(told := whole.get(name), list):
            whole[name] = dict.fromkeys(told)
    return whole


@cache
def _loaded(file: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text()))


def _read(file: Path) -> dict[str, Any]:
    return deepcopy(_loaded(file))


def project(
    variables: Mapping[str, str], *files: str, profiles: Collection[str] = (), run: Collection[str] = ()
) -> dict[str, Any]:
    """What is started with these overrides and profiles; ``run`` names services that are asked for by name."""
    whole: dict[str, Any] = {}
    for file in (MAIN, *(OVERRIDES / f"{one}.yml" for one in files)):
        told = _read(file)
        told["services"] = {name: _in_full(one) for name, one in told["services"].items()}
        whole = _merged(whole, told)
    services = {
        name: one
        for name, one in whole["services"].items()
        if not one.get("profiles") or name in run or set(one["profiles"]) & set(profiles)
    }
    return {**whole, "services": _filled(services, variables), "networks": _filled(whole["networks"], variables)}


def variables_in(text: str) -> set[str]:
    """The names that a file asks for."""
    return set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", text.replace("$$", "")))


def networks_of(services: Mapping[str, Any], network: str) -> Sequence[str]:
    """Who is in it."""
    return sorted(name for name, one in services.items() if network in one["networks"])
