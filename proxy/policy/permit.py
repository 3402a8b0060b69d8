"""The decisions, in the order in which the story asks for them."""

import difflib
import heapq
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

from proxy.errors import Forbidden, NoSuchModel
from proxy.policy import cost, images, knobs, management, models
from proxy.policy.models import BadName, Name
from proxy.vocabulary import Ask, Caller, Endpoint, ModelIn, Risk


@dataclass(frozen=True, slots=True)
class Installed:
    """A model as Ollama lists it."""

    spelling: str
    elsewhere: bool = False
    """A stub that runs on another host, whatever its name looks like."""


InstalledModels = Mapping[Name, Installed]
"""Ollama's list by canonical names."""

LIKELY = 8
"""Of all models so many are compared closely with one that is not there. That takes a tenth of a millisecond each, no
limit counts such a call, and meanwhile nothing else goes on."""


def may_ask(caller: Caller, endpoint: Endpoint) -> None:
    """Before the body is read. Raises Forbidden where the plan does not grant this class of endpoint."""
    owners_only = endpoint.risk in (Risk.ACCOUNT, Risk.OUTBOUND)
    if endpoint.risk not in caller.plan.grants or (owners_only and not caller.plan.owner):
        raise Forbidden(f"This key's plan does not grant routes of the class '{endpoint.risk}'.")


def may_use(caller: Caller, name: Name) -> bool:
    """Whether plan and key both cover the model, and it stays in the house or may leave it."""
    allowed = (caller.plan.models, caller.models)
    covered = all(models.covered(name, patterns) for patterns in allowed if patterns is not None)
    return covered and (caller.plan.cloud or not name.cloud)


def _may_have(caller: Caller, name: Name, found: Installed) -> bool:
    return may_use(caller, name) and (caller.plan.cloud or not found.elsewhere)


def _may_have_if_there(caller: Caller, installed: InstalledModels, name: Name) -> bool:
    return _may_have(caller, name, installed.get(name, Installed(str(name))))


def may_see(caller: Caller, installed: InstalledModels, spelling: str) -> bool:
    """Whether a list shows the model to this caller: what it could not use, or has no proper name, is not shown."""
    try:
        name = models.canonical(spelling)
    except BadName:
        return False
    return _may_have_if_there(caller, installed, name)


def wanted(caller: Caller, ask: Ask) -> Name | None:
    """The model that has to be installed for an ask; None where none has to be. Raises NoSuchModel for what is no name.

    None too where this caller may not use it: whether it is there is then nobody's business, and nobody looks.
    """
    if ask.endpoint.model_in is ModelIn.NOWHERE or ask.endpoint.risk is Risk.MANAGE:
        return None
    name = _name(ask)
    return name if may_use(caller, name) and not name.cloud else None


def permit(caller: Caller, ask: Ask, installed: InstalledModels) -> Ask:
    """The ask as it may be sent: each model under the name that was checked, each knob as the plan has it, and the most
    that it can cost.

    A name that is no name, a model that this caller may not use, one that is not installed and one that would leave the
    house without leave are refused alike. Raises NoSuchModel, Forbidden or NotUnderstood.
    """
    if ask.endpoint.risk is Risk.MANAGE:
        # What is copied from a stub, or made from one, is one too, under a name that nobody takes for it.
        may_have = partial(_may_have_if_there, caller, installed)
        return cost.reckoned(management.permit(ask, caller.plan, may_have))
    if ask.endpoint.model_in is ModelIn.NOWHERE:
        return cost.reckoned(ask)
    name = _name(ask)
    found = installed.get(name)
    if found is None and name.cloud:
        found = Installed(str(name), elsewhere=True)  # Ollama asks ollama.com for it without looking what is here.
    if found is None or not _may_have(caller, name, found):
        raise NoSuchModel(_with_nearest(caller, name, installed))
    fields, segment = _said_as(ask, found.spelling)
    attached = images.sizes(ask.endpoint.tongue, fields)
    prompt = cost.prompt_tokens(ask, attached)
    turned, changes = knobs.turned(ask, fields, caller.plan, attached, cost.room(caller, name, prompt))
    floor, most = cost.bounds(ask, turned, prompt)
    return replace(
        ask,
        model=str(name),
        spelling=found.spelling,
        segment=segment,
        fields=turned,
        changes=changes,
        prompt_floor=floor,
        prompt_most=prompt if most else 0,
        most_tokens=most,
    )


def _name(ask: Ask) -> Name:
    try:
        return models.canonical(ask.model)
    except BadName as error:
        raise NoSuchModel from error


def _said_as(ask: Ask, spelling: str) -> tuple[Mapping[str, bytes], str]:
    """The body's members and the path's segment, with the model under this name where either tells it."""
    match ask.endpoint.model_in:
        case ModelIn.BODY | ModelIn.BODY_OR_NAME:
            fields = dict(ask.fields)
            fields.pop("name", None)
            fields["model"] = _quoted(spelling)
            return fields, ask.segment
        case ModelIn.PATH:
            return ask.fields, spelling
        case _:
            return ask.fields, ask.segment


@lru_cache(1024)
def _quoted(spelling: str) -> bytes:
    return json.dumps(spelling).encode()


def _with_nearest(caller: Caller, name: Name, installed: InstalledModels) -> str:
    """Only names that this caller may use: a refusal must not tell what else is there."""
    usable = sorted(str(one) for one, found in installed.items() if _may_have(caller, one, found))
    pairs = _pairs(str(name))
    likely = heapq.nlargest(LIKELY, usable, key=lambda one: len(pairs & _pairs(one)) / len(pairs | _pairs(one)))
    near = difflib.get_close_matches(str(name), likely, n=3, cutoff=0.4) or usable[:3]
    return f"{NoSuchModel.default} Nearest are: {', '.join(near)}." if near else NoSuchModel.default


@lru_cache(4096)
def _pairs(text: str) -> frozenset[str]:
    """Every two letters that stand side by side."""
    return frozenset(map("".join, itertools.pairwise(text)))


def read_tags(told: Mapping[str, Any]) -> InstalledModels:
    """``/api/tags`` by canonical names. What has no proper name cannot be asked for, and is left out."""
    found: dict[Name, Installed] = {}
    listed = told.get("models")
    for model in listed if isinstance(listed, list) else []:
        spelling = model.get("name") if isinstance(model, dict) else None
        if not isinstance(spelling, str):
            continue
        try:
            name = models.canonical(spelling)
        except BadName:
            continue
        found[name] = Installed(spelling, elsewhere=bool(model.get("remote_host")))
    return found
