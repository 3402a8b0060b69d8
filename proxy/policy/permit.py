"""The decisions, in the order in which the story asks for them."""

import json
from dataclasses import replace

from proxy.errors import Forbidden, NoSuchModel
from proxy.policy import models
from proxy.vocabulary import Ask, Caller, Endpoint


def may_use(caller: Caller, endpoint: Endpoint) -> None:
    """Before the body is read. Raises Forbidden where the plan does not grant this class of endpoint."""
    if endpoint.risk not in caller.plan.grants:
        raise Forbidden


def permit(caller: Caller, ask: Ask) -> Ask:
    """The ask as it may be sent, its model under the one name that was checked. Raises NoSuchModel.

    A name that is no name, a model that this caller may not use and one that would leave the house without leave are
    refused alike, in the words that Ollama has for a model which is not there.
    """
    if not ask.endpoint.names_model:
        return ask
    try:
        name = models.canonical(ask.model)
    except models.BadName as error:
        raise NoSuchModel from error
    if name.cloud and not caller.plan.cloud:
        raise NoSuchModel
    if not all(models.covered(name, allowed) for allowed in (caller.plan.models, caller.models) if allowed is not None):
        raise NoSuchModel
    fields = {**ask.fields, "model": json.dumps(name.spelling).encode()} if ask.endpoint.method == "POST" else {}
    return replace(ask, model=str(name), spelling=name.spelling, fields=fields)
