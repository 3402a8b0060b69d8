"""From the command line, the environment and a file to Settings, or to every mistake at once.

Pure but for the reader of secret files, which is an argument like all the rest.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_settings import PydanticBaseSettingsSource

from proxy.config import keys, written
from proxy.config.kinds import listed
from proxy.config.layers import Environment, File, Flags, Layer, Mistake, Mistakes, SecretFiles
from proxy.config.plans import NeedsOwner, setting_as_written
from proxy.config.settings import AsksItself, Settings
from proxy.vocabulary import Setting

__all__ = ["Loaded", "Mistake", "Mistakes", "effective", "load"]


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
    """Flags go before the environment, that before secret files, those before the file. Raises ``Mistakes``.

    ``check_pattern`` gives the canonical form of a model pattern or raises ValueError.
    """
    layers = (Flags(flags), Environment(environment), SecretFiles(environment, read_secret), File(text, file))
    mistakes = [mistake for layer in layers for mistake in layer.mistakes]

    class Told(Settings):
        @classmethod
        def settings_customise_sources(cls, *_: Any, **__: Any) -> tuple[PydanticBaseSettingsSource, ...]:
            return layers

    settings: Settings | None = None
    try:
        settings = Settings(**dict(Told()))
    except ValidationError as error:
        mistakes += _explained(error, layers)
    mistakes += _wrong_patterns(layers, check_pattern)
    if mistakes or settings is None:
        raise Mistakes(mistakes)
    settings = _canonical(settings, check_pattern)
    origins = {}
    for path, _ in keys.told(settings):
        layer = _teller(path, layers)
        if layer is not None:
            origins[".".join(path)] = layer.origin(path)
    return Loaded(settings, origins, file)


def effective(loaded: Loaded) -> list[tuple[str, str, str]]:
    """Each key, its value as people write it with secrets masked, and where it came from."""
    rows = ((".".join(path), _shown(path[-1], value)) for path, value in keys.told(loaded.settings))
    return [(key, shown, loaded.origins.get(key, "default")) for key, shown in rows]


def _shown(name: str, value: Any) -> str:
    match value:
        case None:
            return "(not set)"
        case SecretStr():
            return "********"
        case bool():
            return "true" if value else "false"
        case tuple():
            return ", ".join(map(str, value)) or "(none)"
        case Setting():
            return setting_as_written(name, value)
        case float():
            return written.as_duration(value)
        case int():
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


def _canonical(settings: Settings, check: Callable[[str], str]) -> Settings:
    plans = {
        name: plan.model_copy(update={"models": tuple(map(check, plan.models))})
        for name, plan in settings.plans.items()
    }
    return settings.model_copy(update={"plans": plans})


def _explained(error: ValidationError, layers: Sequence[Layer]) -> Iterator[Mistake]:
    for detail in error.errors(include_url=False, include_input=False):
        path = tuple(str(step) for step in detail["loc"] if not isinstance(step, int) and step != "[key]")
        entry = next((step + 1 for step in detail["loc"] if isinstance(step, int)), None)
        problem = detail["msg"].removeprefix("Value error, ").replace("Input should", "should")
        cure = keys.cure(path)
        if detail["type"] == "extra_forbidden":
            problem, cure = "is not a setting", keys.meant(path[-1], list(keys.table(path).model_fields))
        elif isinstance(detail.get("ctx", {}).get("error"), AsksItself):
            cure = "another host or port than that of listen"
        elif isinstance(detail.get("ctx", {}).get("error"), NeedsOwner):
            cure = "leave them out, or say owner = true in this plan if its keys are only for the owner of the box"
        elif detail["type"] in ("dict_type", "model_type"):
            problem = "should be a table"
        elif "[key]" in detail["loc"]:
            problem = "is not a name for a plan"
            cure = "small letters and digits, with single - or _ between them, such as lab-2"
        yield _mistake(path, f"entry {entry} {problem}" if entry else problem, cure, layers)


def _mistake(path: keys.Path, problem: str, cure: str, layers: Sequence[Layer]) -> Mistake:
    layer = _teller(path, layers)
    if layer is None:
        return Mistake("default", ".".join(path), problem, cure)
    return Mistake(layer.where, layer.name(path), problem, cure)


def _teller(path: keys.Path, layers: Sequence[Layer]) -> Layer | None:
    """Who said it last, or who said what it is part of."""
    for end in range(len(path), 0, -1):
        for layer in layers:
            if layer.tells(path[:end]) and (end == len(path) or not keys.is_branch(path[:end])):
                return layer
    return None
