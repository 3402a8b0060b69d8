"""Who may change which models, and from where they may come. Nothing in this module does I/O.

A pull makes the box fetch from whatever host the name says, over plain HTTP if asked to; a create can make a name that
answers from elsewhere; a copy repoints a name that others trust. So every name in such a request is checked, and the
switches that widen it are refused.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from proxy.errors import Forbidden, NoSuchModel, NotUnderstood
from proxy.policy import models
from proxy.policy.models import BadName, Name
from proxy.vocabulary import Ask, ModelIn, Plan, Pulls

REFUSED_MEMBERS = {
    "insecure": "Transfers over plain HTTP are not allowed.",
    "remote_host": "Models that run elsewhere cannot be made here.",
    # Until 0.5.5 these two could name any model, host or file, unchecked; later versions look for neither.
    "modelfile": "A model is made from the members of the request, not from a Modelfile.",
    "path": "A model is made from the members of the request, not from a Modelfile.",
}
TRANSFERS = ("/api/pull", "/api/push")

MayUse = Callable[[Name], bool]


def permit(ask: Ask, plan: Plan, may_use: MayUse) -> Ask:
    """The ask with every name in it checked and rewritten. Raises NoSuchModel, Forbidden or NotUnderstood."""
    for member, why in REFUSED_MEMBERS.items():
        if _value(ask, member):
            raise Forbidden(why)
    match ask.endpoint.model_in:
        case ModelIn.COPY:
            return _copy(ask, may_use)
        case ModelIn.BODY_OR_NAME:
            return _one_model(ask, plan, may_use)
        case _:
            return replace(ask, most_bytes=plan.pulls.most_bytes)


def _one_model(ask: Ask, plan: Plan, may_use: MayUse) -> Ask:
    name = _checked(ask.model, may_use)
    if ask.endpoint.path in TRANSFERS:
        _within(plan.pulls, name)
    fields = {member: text for member, text in ask.fields.items() if member != "name"}
    fields["model"] = json.dumps(name.spelling).encode()
    if source := _value(ask, "from"):
        origin = _checked(source, may_use)
        _within(plan.pulls, origin)  # What is not installed would be pulled.
        fields["from"] = json.dumps(origin.spelling).encode()
    most = plan.pulls.most_bytes
    return replace(ask, model=str(name), spelling=name.spelling, fields=fields, most_bytes=most)


def _copy(ask: Ask, may_use: MayUse) -> Ask:
    source, destination = (_checked(_value(ask, member), may_use) for member in ("source", "destination"))
    said = {"source": source.spelling, "destination": destination.spelling}
    fields = {**ask.fields, **{member: json.dumps(name).encode() for member, name in said.items()}}
    return replace(ask, model=str(destination), spelling=destination.spelling, fields=fields)


def _checked(text: Any, may_use: MayUse) -> Name:
    if not isinstance(text, str):
        raise NotUnderstood("A model's name must be a string.")
    try:
        name = models.canonical(text)
    except BadName as error:
        raise NoSuchModel from error
    if name.cloud or not may_use(name):
        raise NoSuchModel
    return name


def _within(pulls: Pulls, name: Name) -> None:
    if not _among(name.host, pulls.registries) or not _among(name.namespace, pulls.namespaces):
        raise Forbidden("This key's plan does not allow models from there.")


def _among(part: str, allowed: tuple[str, ...]) -> bool:
    return "*" in allowed or part in {one.lower() for one in allowed}


def _value(ask: Ask, member: str) -> Any:
    return json.loads(ask.fields[member]) if member in ask.fields else None
