"""Which keys there are, what each is called in the environment, and which one was meant by a word that is none.

A key is a path: ``("listen",)``, ``("plans", "lab", "models")``, ``("plans", "lab", "knobs", "num_ctx")``.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from proxy.config.plans import KnobSettings, PlanSettings, PullSettings
from proxy.config.settings import Settings

PREFIX = "LLAMAGATE_"
SECRETS = ("database_url", "pepper")
TABLES: Mapping[str, type[BaseModel]] = {"knobs": KnobSettings, "pull": PullSettings}
"""The tables that a plan has under it."""

Path = tuple[str, ...]


def table(path: Path) -> type[BaseModel]:
    """What the key stands in."""
    if path[0] != "plans" or len(path) < 3:
        return Settings
    return PlanSettings if len(path) == 3 else TABLES.get(path[2], PlanSettings)


def is_setting(path: Path) -> bool:
    if path[0] == "plans":
        has_its_place = (len(path) == 3 and path[2] not in TABLES) or (len(path) == 4 and path[2] in TABLES)
        return has_its_place and bool(path[1]) and path[-1] in table(path).model_fields
    return len(path) == 1 and path[0] in Settings.model_fields


def is_branch(path: Path) -> bool:
    """Whether other keys stand under this one, each with an origin of its own."""
    return path[0] == "plans" and (len(path) < 3 or (len(path) == 3 and path[2] in TABLES))


def told(settings: Settings) -> Iterator[tuple[Path, Any]]:
    """Every key and its value; of the knobs only those that a plan has words for."""
    for key in names():
        if key != "plans":
            yield (key,), getattr(settings, key)
    for name, plan in settings.plans.items():
        for field in PlanSettings.model_fields:
            value = getattr(plan, field)
            if field not in TABLES:
                yield ("plans", name, field), value
                continue
            for inner in TABLES[field].model_fields:
                if field != "knobs" or getattr(value, inner) is not None:
                    yield ("plans", name, field, inner), getattr(value, inner)


def names() -> list[str]:
    return list(Settings.model_fields)


def twins() -> dict[str, str]:
    """The variables that name a file which holds a secret, and which."""
    return {f"{variable((key,))}_FILE": key for key in SECRETS}


def variable(path: Path) -> str:
    return PREFIX + "__".join(path).upper()


def variables(path: Path) -> list[str]:
    """What could have been meant where ``path`` was written."""
    if path[0] != "plans":
        return [variable((key,)) for key in names() if key != "plans"]
    stem = ("plans", path[1] if len(path) > 1 and path[1] else "lab")
    if len(path) == 4 and path[2] in TABLES:
        return [variable((*stem, path[2], field)) for field in TABLES[path[2]].model_fields]
    return [variable((*stem, field)) for field in PlanSettings.model_fields if field not in TABLES]


def meant(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name.replace("-", "_"), known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"


def cure(path: Path) -> str:
    """What a good value of the key looks like."""
    field = table(path).model_fields.get(path[2] if len(path) == 3 else path[-1])
    examples = field.examples if field else None
    return f"for instance {_example(examples[0])}" if examples else "see llamagate settings"


def _example(value: Any) -> str:
    if isinstance(value, dict):
        return '[plans.lab] with models = ["llama3.2:*"] under it'
    return str(value).lower() if isinstance(value, bool) else str(value).replace("'", '"')
