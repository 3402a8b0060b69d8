"""Which keys there are, what each is called in the environment, and which one was meant by a word that is none.

A key is a path: ``("listen",)``, ``("plans", "lab", "models")``, ``("plans", "lab", "limits", "user", "concurrent")``.
What paths there are is read off the tables themselves, however deep they go.
"""

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from proxy.config.limits import AmountSettings
from proxy.config.plans import KnobSettings
from proxy.config.prices import PriceSettings
from proxy.config.settings import Settings

PREFIX = "LLAMAGATE_"
SECRETS = ("database_url", "pepper", "redis_url")
_SHOWN_WHERE_TOLD: tuple[type[BaseModel], ...] = (KnobSettings, AmountSettings, PriceSettings)
"""Tables of which most is left unsaid, and means nothing then."""
_BARE = re.compile("[A-Za-z0-9_-]+")

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Named:
    """Tables of one kind, each under a name that people give it."""

    table: type[BaseModel]
    is_pattern: bool
    """The names are patterns of models, which no variable can spell."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a path leads, or how far it does."""

    steps: int = 0
    """How many of the path there are keys for."""
    table: type[BaseModel] = Settings
    """What the last key stands in."""
    field: FieldInfo | None = None
    """The last key; above a name, what the name is in."""
    below: type[BaseModel] | _Named | None = Settings
    """What stands under it; None under a setting."""
    pattern: int = 0
    """The step that is the pattern of a model; 0 where none is."""


def _below(field: FieldInfo) -> type[BaseModel] | _Named | None:
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    if get_origin(kind) is dict:
        name, inner = get_args(kind)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return _Named(inner, is_pattern=name is str)
    return None


def _place(path: Path) -> _Place:
    place = _Place()
    for step in path:
        match place.below:
            case _Named(table, is_pattern) if step or is_pattern:
                pattern = place.steps + 1 if is_pattern else place.pattern
                place = _Place(place.steps + 1, place.table, place.field, table, pattern)
            case type() as table if step in table.model_fields:
                field = table.model_fields[step]
                place = _Place(place.steps + 1, table, field, _below(field), place.pattern)
            case _:
                break
    return place


def table(path: Path) -> type[BaseModel]:
    """What the key stands in, or would if it were one."""
    place = _place(path)
    return place.below if place.steps < len(path) and isinstance(place.below, type) else place.table


def is_setting(path: Path) -> bool:
    place = _place(path)
    return place.steps == len(path) and place.below is None


def is_branch(path: Path) -> bool:
    """Whether other keys stand under this one, each with an origin of its own."""
    place = _place(path)
    return place.steps == len(path) and place.below is not None


def is_pattern(path: Path) -> bool:
    """Whether its last step is the pattern of a model."""
    return _place(path).pattern == len(path) > 0


def is_for_the_file(path: Path) -> bool:
    """Whether it stands under the pattern of a model, or where one has to be: no variable can spell it."""
    place = _place(path)
    return place.pattern > 0 or (isinstance(place.below, _Named) and place.below.is_pattern)


def told(table: BaseModel, above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every key and its value; of knobs, limits and prices only those that somebody has words for."""
    for name, field in type(table).model_fields.items():
        path, value = (*above, name), getattr(table, name)
        match _below(field):
            case None:
                if name in table.model_fields_set or not isinstance(table, _SHOWN_WHERE_TOLD):
                    yield path, value
            case _Named():
                for inner in value:
                    yield from told(value[inner], (*path, inner))
            case _:
                yield from told(value, path)


def twins() -> dict[str, str]:
    """The variables that name a file which holds a secret, and which."""
    return {f"{variable((key,))}_FILE": key for key in SECRETS}


def dotted(path: Path) -> str:
    """As TOML writes it."""
    return ".".join(step if _BARE.fullmatch(step) else json.dumps(step, ensure_ascii=False) for step in path)


def variable(path: Path) -> str:
    return PREFIX + "__".join(path).upper()


def variables(path: Path) -> list[str]:
    """What could have been meant where ``path`` was written: all keys of the table that it leads into.

    Where it goes on from there, those of the tables below too.
    """
    place = _place(path)
    match place.below:
        case _Named(table):
            stem = (*path[: place.steps], "lab")
        case None:
            stem, table = path[: place.steps - 1], place.table
        case table:
            stem = path[: place.steps]
    is_deep = len(path) - place.steps > 1
    return [variable(one) for one in _settings(table, stem) if is_deep or len(one) == len(stem) + 1]


def _settings(table: type[BaseModel], above: Path) -> Iterator[Path]:
    for name, field in table.model_fields.items():
        match _below(field):
            case None:
                yield (*above, name)
            case type() as inner:
                yield from _settings(inner, (*above, name))


def meant(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name.replace("-", "_"), known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"


def cure(path: Path) -> str:
    """What a good value of the key looks like."""
    field = _place(path).field
    examples = field.examples if field else None
    return f"for instance {_example(examples[0])}" if examples else "see llamagate settings"


def _example(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).replace("'", '"')
