import json
from dataclasses import replace

import pytest

from proxy.errors import Forbidden, NoSuchModel
from proxy.policy.endpoints import ENDPOINTS, find
from proxy.policy.permit import may_use, permit
from proxy.vocabulary import Ask, Caller, Endpoint, Plan, Risk

CHAT = find("POST", "/api/chat")[0]
ONE_MODEL = find("GET", "/v1/models/x")[0]
TAGS = find("GET", "/api/tags")[0]


def caller(*models: str, narrowed: tuple[str, ...] | None = None, cloud: bool = False) -> Caller:
    return Caller("alice", "k1", Plan("default", models=models or ("*",), cloud=cloud), models=narrowed)


def ask(model: str, endpoint: Endpoint = CHAT) -> Ask:
    return Ask(endpoint, model=model, fields={"model": json.dumps(model).encode(), "stream": b"true"})


@pytest.mark.parametrize("granted", Risk)
def test_a_plan_opens_the_classes_it_grants_and_no_other(granted: Risk) -> None:
    someone = replace(caller(), plan=Plan("narrow", grants=frozenset({granted})))
    opened = set()
    for endpoint in ENDPOINTS:
        try:
            may_use(someone, endpoint)
            opened.add(endpoint.risk)
        except Forbidden:
            assert endpoint.risk is not granted

    assert {granted} == opened


@pytest.mark.parametrize(
    ("plan", "narrowed", "model"),
    [
        (("*",), None, "llama3.2:1b"),
        (("llama3.2:*",), None, "LLAMA3.2:1b: Local"),
        (("llama3.2:*",), ("llama3.2:1b",), "llama3.2:1b"),
        (("llama3.2:*", "mistral"), ("*",), "mistral"),
    ],
)
def test_what_plan_and_key_cover_is_permitted(plan: tuple[str, ...], narrowed: tuple[str, ...], model: str) -> None:
    assert permit(caller(*plan, narrowed=narrowed), ask(model)).model


@pytest.mark.parametrize(
    ("plan", "narrowed", "model"),
    [
        (("llama3.2:1b",), None, "llama3.2:3b"),
        (("llama3.2:1b",), ("*",), "mistral"),
        (("*",), ("llama3.2:1b",), "mistral"),
        (("*",), (), "mistral"),
        (("llama3.2",), ("mistral",), "mistral"),
        (("*",), None, ""),
        (("*",), None, "llama3.2:1b@sha256:00"),
        (("*",), None, "https://x/y/z"),
        (("*",), None, "llama3.2:1b-cloud"),
        (("llama3.2:1b",), None, "llama3.2:1b:cloud"),
        (("mistral:latest",), None, "mistral:latest://registry.ollama.ai/library/llama3.2:1b"),
    ],
)
@pytest.mark.parametrize("endpoint", [CHAT, ONE_MODEL])
def test_absent_forbidden_and_nonsense_are_refused_alike(
    plan: tuple[str, ...], narrowed: tuple[str, ...] | None, model: str, endpoint: Endpoint
) -> None:
    with pytest.raises(NoSuchModel) as raised:
        permit(caller(*plan, narrowed=narrowed), ask(model, endpoint))

    assert NoSuchModel.default == raised.value.message


def test_a_plan_with_leave_may_send_a_model_out_of_the_house_and_only_a_covered_one() -> None:
    assert "gpt-oss:120b:cloud" == permit(caller("gpt-oss:*", cloud=True), ask("gpt-oss:120b-cloud")).spelling
    with pytest.raises(NoSuchModel):
        permit(caller("gpt-oss:*", cloud=True), ask("llama3.2:cloud"))


def test_what_was_checked_is_what_is_sent() -> None:
    permitted = permit(caller(), ask(" Library/Llama3.2:1b:LOCAL\n"))

    assert "llama3.2:1b" == permitted.model
    assert {"model": "Llama3.2:1b", "stream": True} == json.loads(permitted.body or b"")


def test_a_model_in_the_path_is_sent_in_its_checked_form() -> None:
    permitted = permit(caller(), Ask(ONE_MODEL, model="registry.ollama.ai/library/Mistral"))

    assert ("/v1/models/Mistral:latest", None) == (permitted.path, permitted.body)


def test_the_other_members_are_sent_as_they_came() -> None:
    asked = Ask(CHAT, model="m", fields={"a": b"1.0e2", "model": b'"m"', "z": b'{"x":  [1]}'})

    assert b'{"a":1.0e2,"model":"m:latest","z":{"x":  [1]}}' == permit(caller(), asked).body


def test_an_endpoint_that_names_no_model_needs_no_leave_for_one() -> None:
    asked = Ask(TAGS)

    assert asked is permit(caller(narrowed=()), asked)
