"""From the command line, the environment and a file to Settings, or to every mistake at once.

Pure but for the reader of secret files, which is an argument like all the rest.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from proxy.config import written
from proxy.config.settings import AsksItself, PlanSettings, Settings, listed
from proxy.errors import Misconfigured

PREFIX = "LLAMAGATE_"
SECRETS = ("database_url", "pepper")
_NOT_SETTINGS = {"LLAMAGATE_CONFIG", "LLAMAGATE_VENV"}
_LINE = re.compile(r"(.*) \(at (line \d+, column \d+|end of document)\)", re.DOTALL)
# Kubernetes tells every pod of a Service called llamagate in these; nobody wrote them, so nobody mistook them.
_SERVICE_LINK = re.compile(r"LLAMAGATE_(SERVICE_(HOST|PORT.*)|PORT_[0-9]+_.*)")

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that was told wrong, and what would be right. Never holds the value of a secret."""

    where: str
    """``environment``, ``command line``, ``default``, or the name of the file."""
    key: str
    """As it is written there: ``plans.lab.models``, ``LLAMAGATE_PLANS__LAB__MODELS``, ``--listen``."""
    problem: str
    cure: str

    def __str__(self) -> str:
        return f"{self.where}: {self.key}: {self.problem} ({self.cure})"


class Mistakes(Misconfigured):
    """Every mistake that was found."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(map(str, self.mistakes)))


@dataclass(frozen=True, slots=True)
class Loaded:
    """What holds, and who said so."""

    settings: Settings
    origins: Mapping[str, str]
    """By key, ``plans.lab.models`` for one; a key that nobody told is not here."""
    file: str | None = None


class _Layer(PydanticBaseSettingsSource):
    """What one place tells. Mistakes gather here and are told later, all together."""

    where = ""

    def __init__(self) -> None:
        super().__init__(Settings)
        self.told: dict[str, Any] = {}
        self.names: dict[Path, str] = {}
        """How each value is called in this place."""
        self.mistakes: list[Mistake] = []

    def __call__(self) -> dict[str, Any]:
        return self.told

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self.told.get(field_name), field_name, False

    def tell(self, path: Path, name: str, value: Any) -> None:
        self.names[path] = name
        inner = self.told
        for step in path[:-1]:
            inner = inner.setdefault(step, {})
        inner[path[-1]] = value

    def name(self, path: Path) -> str:
        return self.names.get(path, ".".join(path))

    def origin(self, path: Path) -> str:
        return f"{self.where} {self.name(path)}"

    def tells(self, path: Path) -> bool:
        inner: Any = self.told
        for step in path:
            if not isinstance(inner, dict) or step not in inner:
                return False
            inner = inner[step]
        return True

    def mistake(self, name: str, problem: str, cure: str) -> None:
        self.mistakes.append(Mistake(self.where, name, problem, cure))


class _Flags(_Layer):
    where = "command line"

    def __init__(self, flags: Mapping[str, str]) -> None:
        super().__init__()
        for key, value in flags.items():
            self.tell((key,), f"--{key.replace('_', '-')}", value)


class _Environment(_Layer):
    where = "environment"

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__()
        for name, value in environment.items():
            if not name.startswith(PREFIX) or name in _NOT_SETTINGS or _is_service_link(name, value):
                continue
            path = tuple(name.removeprefix(PREFIX).lower().split("__"))
            if _is_setting(path):
                # An empty variable is how a compose file says "not set". For a plan it could open what was to be shut.
                if value or path[0] == "plans":
                    self.tell(path, name, value)
            elif name not in _twins():
                self.mistake(name, "is not a setting", _meant(name, _variables(path)))


class _SecretFiles(_Layer):
    where = "environment"

    def __init__(self, environment: Mapping[str, str], read_secret: Callable[[str], str]) -> None:
        super().__init__()
        for name, key in _twins().items():
            file = environment.get(name)
            if not file:
                continue
            if environment.get(_variable((key,))):
                self.mistake(name, f"is set, and {_variable((key,))} too", "set one of the two")
                continue
            try:
                self.tell((key,), name, read_secret(file).strip())
            except UnicodeDecodeError:
                self.mistake(name, f"names {file!r}, which is not text", "a file that holds only the secret")
            except OSError as error:
                problem = f"names {file!r}, which cannot be read: {error.strerror or 'no reason given'}"
                self.mistake(name, problem, "a file that the gate may read")


class _File(_Layer):
    def __init__(self, text: str | None, file: str | None) -> None:
        super().__init__()
        self.where = file or "llamagate.toml"
        try:
            self.told = tomllib.loads(text or "")
        except tomllib.TOMLDecodeError as error:
            match = _LINE.fullmatch(str(error))
            problem, place = (match[1], match[2]) if match else (str(error), "syntax")
            self.mistake(place, f"is not TOML: {problem}", 'a line looks like: listen = "127.0.0.1:11435"')

    def origin(self, path: Path) -> str:
        return self.where


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
    layers = (_Flags(flags), _Environment(environment), _SecretFiles(environment, read_secret), _File(text, file))
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
    for path in _paths(settings):
        layer = _teller(path, layers)
        if layer is not None:
            origins[".".join(path)] = layer.origin(path)
    return Loaded(settings, origins, file)


def effective(loaded: Loaded) -> list[tuple[str, str, str]]:
    """Each key, its value as people write it with secrets masked, and where it came from."""
    rows = []
    for path in _paths(loaded.settings):
        key = ".".join(path)
        value: Any = loaded.settings
        for step in path:
            value = value[step] if isinstance(value, dict) else getattr(value, step)
        rows.append((key, _shown(path[-1], value), loaded.origins.get(key, "default")))
    return rows


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
        case float():
            return written.as_duration(value)
        case int():
            return written.as_size(value)
    return str(value)


def _wrong_patterns(layers: Sequence[_Layer], check: Callable[[str], str]) -> Iterator[Mistake]:
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
                yield _mistake(path, f"has {pattern!r} in it: {error}", _cure(path), layers)


def _canonical(settings: Settings, check: Callable[[str], str]) -> Settings:
    plans = {
        name: plan.model_copy(update={"models": tuple(map(check, plan.models))})
        for name, plan in settings.plans.items()
    }
    return settings.model_copy(update={"plans": plans})


def _explained(error: ValidationError, layers: Sequence[_Layer]) -> Iterator[Mistake]:
    for detail in error.errors(include_url=False, include_input=False):
        path = tuple(str(step) for step in detail["loc"] if not isinstance(step, int) and step != "[key]")
        entry = next((step + 1 for step in detail["loc"] if isinstance(step, int)), None)
        problem = detail["msg"].removeprefix("Value error, ").replace("Input should", "should")
        cure = _cure(path)
        if detail["type"] == "extra_forbidden":
            siblings = list(PlanSettings.model_fields) if path[0] == "plans" else _keys()
            problem, cure = "is not a setting", _meant(path[-1], siblings)
        elif isinstance(detail.get("ctx", {}).get("error"), AsksItself):
            cure = "another host or port than that of listen"
        elif detail["type"] in ("dict_type", "model_type"):
            problem = "should be a table"
        elif "[key]" in detail["loc"]:
            problem = "is not a name for a plan"
            cure = "small letters and digits, with single - or _ between them, such as lab-2"
        yield _mistake(path, f"entry {entry} {problem}" if entry else problem, cure, layers)


def _mistake(path: Path, problem: str, cure: str, layers: Sequence[_Layer]) -> Mistake:
    layer = _teller(path, layers)
    if layer is None:
        return Mistake("default", ".".join(path), problem, cure)
    return Mistake(layer.where, layer.name(path), problem, cure)


def _teller(path: Path, layers: Sequence[_Layer]) -> _Layer | None:
    """Who said it last, or who said what it is part of."""
    for end in range(len(path), 0, -1):
        for layer in layers:
            if layer.tells(path[:end]) and (end == len(path) or not _is_branch(path[:end])):
                return layer
    return None


def _is_branch(path: Path) -> bool:
    return path[0] == "plans" and len(path) < 3


def _paths(settings: Settings) -> Iterator[Path]:
    for key in _keys():
        if key != "plans":
            yield (key,)
    for name in settings.plans:
        for field in PlanSettings.model_fields:
            yield ("plans", name, field)


def _keys() -> list[str]:
    return list(Settings.model_fields)


def _is_setting(path: Path) -> bool:
    if path[0] == "plans":
        return len(path) == 3 and bool(path[1]) and path[2] in PlanSettings.model_fields
    return len(path) == 1 and path[0] in Settings.model_fields


def _is_service_link(name: str, value: str) -> bool:
    return bool(_SERVICE_LINK.fullmatch(name)) or (name == "LLAMAGATE_PORT" and "://" in value)


def _twins() -> dict[str, str]:
    return {f"{_variable((key,))}_FILE": key for key in SECRETS}


def _variable(path: Path) -> str:
    return PREFIX + "__".join(path).upper()


def _variables(path: Path) -> list[str]:
    """What could have been meant where ``path`` was written."""
    if path[0] == "plans":
        plan = path[1] if len(path) > 1 and path[1] else "lab"
        return [_variable(("plans", plan, field)) for field in PlanSettings.model_fields]
    return [_variable((key,)) for key in _keys() if key != "plans"]


def _meant(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name.replace("-", "_"), known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"


def _cure(path: Path) -> str:
    model: type[BaseModel] = Settings
    if path[0] == "plans" and len(path) > 2:
        model, path = PlanSettings, path[2:]
    field = model.model_fields.get(path[0])
    examples = field.examples if field else None
    return f"for instance {_example(examples[0])}" if examples else "see llamagate settings"


def _example(value: Any) -> str:
    if isinstance(value, dict):
        return '[plans.lab] with models = ["llama3.2:*"] under it'
    return str(value).lower() if isinstance(value, bool) else str(value).replace("'", '"')
