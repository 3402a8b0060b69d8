"""The places that tell us what to be, each as a layer: what it tells, how it calls each value, and its mistakes."""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.config import keys
from proxy.config.issuers import SOURCES
from proxy.errors import Misconfigured

CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"
"""What systemd calls it (systemd.exec(5))."""
_NOT_SETTINGS = {"LLAMAGATE_CONFIG", "LLAMAGATE_DOCTOR_KEY", "LLAMAGATE_DOCTOR_PRIVATE", "LLAMAGATE_VENV"}
_LINE = re.compile(r"(.*) \(at (line \d+, column \d+|end of document)\)", re.DOTALL)
# Kubernetes tells every pod of a Service called llamagate in these; nobody wrote them, so nobody mistook them.
_SERVICE_LINK = re.compile(r"LLAMAGATE_(SERVICE_(HOST|PORT.*)|PORT_[0-9]+_.*)")


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


class Exposed(Misconfigured):
    """Others may read the file of a secret."""

    def __init__(self, file: str, mode: int) -> None:
        self.mode = mode
        super().__init__(f"{file} may be read by others (mode {mode:04o}): chmod 600 {file}")


class Layer:
    """What one place tells. Mistakes gather here and are told later, all together."""

    where = ""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}
        self.names: dict[keys.Path, str] = {}
        """How each value is called in this place."""
        self.mistakes: list[Mistake] = []

    def tell(self, path: keys.Path, name: str, value: Any) -> None:
        self.names[path] = name
        inner = self.told
        for step in path[:-1]:
            inner = inner.setdefault(step, {})
        inner[path[-1]] = value

    def name(self, path: keys.Path) -> str:
        return self.names.get(path, keys.dotted(path))

    def origin(self, path: keys.Path) -> str:
        return f"{self.where} {self.name(path)}"

    def tells(self, path: keys.Path) -> bool:
        inner: Any = self.told
        for step in path:
            if not isinstance(inner, dict) or step not in inner:
                return False
            inner = inner[step]
        return True

    def mistake(self, name: str, problem: str, cure: str) -> None:
        self.mistakes.append(Mistake(self.where, name, problem, cure))


class Flags(Layer):
    where = "command line"

    def __init__(self, flags: Mapping[str, str]) -> None:
        super().__init__()
        for key, value in flags.items():
            self.tell((key,), f"--{key.replace('_', '-')}", value)


class Environment(Layer):
    where = "environment"

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__()
        for name, value in environment.items():
            if not name.startswith(keys.PREFIX) or name in _NOT_SETTINGS or _is_service_link(name, value):
                continue
            path = tuple(name.removeprefix(keys.PREFIX).lower().split("__"))
            if keys.is_for_the_file(path):
                self.mistake(name, "cannot name the pattern of a model", "write it in the file")
            elif keys.is_setting(path):
                # An empty variable is how a compose file says "not set". For a plan it could open what was to be shut.
                if value or len(path) > 1:
                    self.tell(path, name, value)
            elif name not in keys.twins():
                self.mistake(name, "is not a setting", keys.meant(name, keys.variables(path)))


class SecretFiles(Layer):
    where = "environment"

    def __init__(self, environment: Mapping[str, str], read_secret: Callable[[str], str]) -> None:
        super().__init__()
        for name, key in keys.twins().items():
            file = environment.get(name)
            if not file:
                continue
            if environment.get(keys.variable((key,))):
                self.mistake(name, f"is set, and {keys.variable((key,))} too", "set one of the two")
                continue
            try:
                self.tell((key,), name, read_secret(file).strip())
            except Exposed as error:
                self.mistake(
                    name, f"names {file!r}, which others may read (mode {error.mode:04o})", f"chmod 600 {file}"
                )
            except UnicodeDecodeError:
                self.mistake(name, f"names {file!r}, which is not text", "a file that holds only the secret")
            except OSError as error:
                problem = f"names {file!r}, which cannot be read: {error.strerror or 'no reason given'}"
                self.mistake(name, problem, "a file that the gate may read")


class Credentials(Layer):
    """The secrets that systemd hands to a service (``LoadCredential=``), each in a file named as its setting.

    They tell only what none of the ``others`` does.
    """

    where = "systemd credential"

    def __init__(
        self, environment: Mapping[str, str], read_secret: Callable[[str], str], others: Sequence[Layer]
    ) -> None:
        super().__init__()
        folder = environment.get(CREDENTIALS_DIRECTORY)
        if not folder:
            return
        for path, instead in _secrets(others):
            name = keys.dotted(path)
            if any(layer.tells((*path[:-1], one)) for layer in others for one in instead):
                continue
            try:
                self.tell(path, name, read_secret(f"{folder}/{name}").strip())
            except (FileNotFoundError, NotADirectoryError):
                continue
            except Exposed as error:
                self.mistake(name, f"may be read by others (mode {error.mode:04o})", "chmod 600 it")
            except UnicodeDecodeError:
                self.mistake(name, "is not text", "a credential that holds only the secret")
            except OSError as error:
                problem = f"cannot be read: {error.strerror or 'no reason given'}"
                self.mistake(name, problem, "a credential that the gate may read")


def together(layers: Sequence[Layer]) -> dict[str, Any]:
    """What all of them tell. What several tell is as the first of them says it; tables hold what each puts there."""
    told: dict[str, Any] = {}
    for layer in reversed(layers):
        told = _over(told, layer.told)
    return told


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(below)
    for key, value in above.items():
        under = both.get(key)
        both[key] = _over(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return both


def _secrets(layers: Sequence[Layer]) -> Iterator[tuple[keys.Path, tuple[str, ...]]]:
    """The path of each setting that is a secret, and what else may be told in its place."""
    for key in keys.SECRETS:
        yield (key,), (key,)
    issuers = (layer.told.get("issuers") for layer in layers)
    for name in sorted({name for told in issuers if isinstance(told, dict) for name in told}):
        yield ("issuers", name, "secret"), SOURCES


class File(Layer):
    def __init__(self, text: str | None, file: str | None) -> None:
        super().__init__()
        self.where = file or "llamagate.toml"
        try:
            self.told = tomllib.loads(text or "")
        except tomllib.TOMLDecodeError as error:
            match = _LINE.fullmatch(str(error))
            problem, place = (match[1], match[2]) if match else (str(error), "syntax")
            self.mistake(place, f"is not TOML: {problem}", 'a line looks like: listen = "127.0.0.1:11435"')
        except (ValueError, RecursionError):  # Of a number with thousands of digits, or brackets as deep.
            self.mistake(
                "syntax", "is not TOML that can be read: something in it is too long or too deep", "less of it"
            )

    def origin(self, path: keys.Path) -> str:
        return self.where


def _is_service_link(name: str, value: str) -> bool:
    return bool(_SERVICE_LINK.fullmatch(name)) or (name == "LLAMAGATE_PORT" and "://" in value)
