import json
from typing import Any

import pytest

from proxy.errors import Forbidden, NoSuchModel, NotUnderstood
from proxy.policy import models
from proxy.policy.endpoints import ENDPOINTS, find
from proxy.policy.management import REFUSED_MEMBERS, permit
from proxy.policy.models import Name
from proxy.policy.permit import Installed
from proxy.policy.permit import permit as permit_any
from proxy.vocabulary import Ask, Caller, Endpoint, ModelIn, Plan, Pulls, Risk
from tests.policy.test_models import SCHEMES, SPELLINGS

PULL, PUSH, CREATE, COPY = (find("POST", f"/api/{name}")[0] for name in ("pull", "push", "create", "copy"))
DELETE = find("DELETE", "/api/delete")[0]
BLOB, BLOB_THERE = (find(method, f"/api/blobs/sha256:{'0' * 64}")[0] for method in ("POST", "HEAD"))
ONE_MODEL = [PULL, PUSH, CREATE, DELETE]
WITH_BODY = [*ONE_MODEL, COPY]
HERE = Pulls()


def owned(name: Name) -> bool:
    """May use everything but what begins with ``secret``."""
    return not name.model.startswith("secret")


def plan(pulls: Pulls = HERE) -> Plan:
    return Plan("ops", grants=frozenset(Risk), pulls=pulls)


def ask(endpoint: Endpoint, **fields: Any) -> Ask:
    """As the dialect reads it."""
    model = fields.get("model") or fields.get("name") or ""
    written = {member: json.dumps(value).encode() for member, value in fields.items()}
    return Ask(endpoint, model=model if isinstance(model, str) else "", fields=written)


def named(endpoint: Endpoint, name: Any) -> Ask:
    """A request that is about this model."""
    return ask(endpoint, source=name, destination=name) if endpoint is COPY else ask(endpoint, model=name)


def sent(asked: Ask, pulls: Pulls = HERE) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(permit(asked, plan(pulls), owned).body or b"")
    return told


def by_path(value: object) -> str | None:
    return value.path if isinstance(value, Endpoint) else None


def test_every_endpoint_that_manages_is_tried_here() -> None:
    assert {*WITH_BODY, BLOB, BLOB_THERE} == {row for row in ENDPOINTS if row.risk is Risk.MANAGE}


# Each name is checked, and sent as it was.


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("endpoint", WITH_BODY, ids=by_path)
def test_whatever_the_spelling_the_checked_name_is_sent(endpoint: Endpoint, spelling: str) -> None:
    permitted = permit(named(endpoint, spelling), plan(), owned)
    told = json.loads(permitted.body or b"")

    assert "llama3.2:1b" == permitted.model == permitted.spelling.lower()
    assert {"llama3.2:1b"} == {str(name).lower() for name in told.values()}
    assert set(told) == ({"source", "destination"} if endpoint is COPY else {"model"})


def test_a_new_name_keeps_its_case() -> None:
    assert {"model": "Alice/MyModel:Q4"} == sent(ask(CREATE, model="registry.ollama.ai/Alice/MyModel:Q4:local"))


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "Mistral"},
        {"model": "", "name": "Mistral"},
        {"model": None, "name": "Mistral"},
        {"model": "Mistral", "name": "secret"},
        {"name": "secret", "model": "Mistral"},
    ],
)
@pytest.mark.parametrize("endpoint", ONE_MODEL, ids=by_path)
def test_of_the_two_words_for_a_model_only_the_checked_one_is_sent(endpoint: Endpoint, fields: dict[str, Any]) -> None:
    assert {"model": "Mistral:latest"} == sent(ask(endpoint, **fields))


@pytest.mark.parametrize("name", ["secret", "SECRET:1b:local", "library/secret", "secret-2", "", "a b", "x:", *SCHEMES])
@pytest.mark.parametrize("endpoint", WITH_BODY, ids=by_path)
def test_a_forbidden_name_and_none_at_all_are_refused_in_the_very_same_words(endpoint: Endpoint, name: str) -> None:
    with pytest.raises(NoSuchModel) as raised:
        sent(named(endpoint, name))

    assert NoSuchModel.default == raised.value.message


@pytest.mark.parametrize("name", ["m:cloud", "m:1b-cloud", "m:1B-CLOUD", "m: 1b-cloud", "m:latest: Cloud"])
@pytest.mark.parametrize("endpoint", WITH_BODY, ids=by_path)
def test_a_name_that_leaves_the_house_is_none_to_manage(endpoint: Endpoint, name: str) -> None:
    with pytest.raises(NoSuchModel):
        sent(named(endpoint, name))


@pytest.mark.parametrize(
    ("source", "destination"),
    [("m", "secret"), ("secret", "m"), ("m", "n:cloud"), ("m:cloud", "n"), ("m", ""), ("", "n")],
)
def test_a_copy_is_checked_at_both_ends(source: str, destination: str) -> None:
    with pytest.raises(NoSuchModel):
        sent(ask(COPY, source=source, destination=destination))


def test_a_copy_is_told_by_what_it_makes() -> None:
    permitted = permit(ask(COPY, source="M", destination="library/N:1B"), plan(), owned)

    assert ("n:1b", {"source": "M:latest", "destination": "N:1B"}) == (
        permitted.model,
        json.loads(permitted.body or b""),
    )


@pytest.mark.parametrize("fields", [{"source": "m"}, {"destination": "m"}, {}, {"source": 1, "destination": "m"}])
def test_a_copy_without_two_names_is_not_understood(fields: dict[str, Any]) -> None:
    with pytest.raises(NotUnderstood):
        sent(ask(COPY, **fields))


def test_a_copys_stray_model_is_not_what_counts() -> None:
    with pytest.raises(NoSuchModel):
        sent(ask(COPY, model="m", source="secret", destination="m"))


# From where, and how much.


@pytest.mark.parametrize("endpoint", WITH_BODY, ids=by_path)
@pytest.mark.parametrize("value", [True, 1, "true", "http://x", [0]])
@pytest.mark.parametrize("member", REFUSED_MEMBERS)
def test_what_would_widen_a_request_is_refused_on_every_route(endpoint: Endpoint, member: str, value: object) -> None:
    asked = named(endpoint, "m")
    widened = Ask(endpoint, asked.model, fields={**asked.fields, member: json.dumps(value).encode()})
    with pytest.raises(Forbidden):
        permit(widened, plan(Pulls(("*",), ("*",))), owned)


@pytest.mark.parametrize("member", REFUSED_MEMBERS)
@pytest.mark.parametrize("value", [False, None, ""])
def test_what_is_off_anyway_is_no_offence(member: str, value: object) -> None:
    assert "m:latest" == sent(ask(PULL, model="m", **{member: value}))["model"]


PLACES = [
    (HERE, "llama3.2:1b", True),
    (HERE, "registry.ollama.ai/library/llama3.2", True),
    (HERE, "alice/m", False),
    (HERE, "hf.co/bart/m", False),
    (HERE, "hf.co/library/m", False),
    (HERE, "registry.ollama.ai:443/library/m", False),
    (HERE, "registry.ollama.ai./library/m", False),
    (HERE, "169.254.169.254/library/m", False),
    (HERE, "localhost:5000/library/m", False),
    (Pulls(namespaces=("library", "Alice")), "aLICE/m", True),
    (Pulls(namespaces=("*",)), "anybody/m", True),
    (Pulls(namespaces=("*",)), "hf.co/anybody/m", False),
    (Pulls(registries=("HF.co",), namespaces=("bart",)), "hf.co/Bart/m", True),
    (Pulls(registries=("HF.co",), namespaces=("bart",)), "bart/m", False),
    (Pulls(registries=("*",)), "hf.co/library/m", True),
    (Pulls(registries=("*",)), "hf.co/bart/m", False),
    (Pulls(("*",), ("*",)), "hf.co/bart/m", True),
    (Pulls((), ()), "m", False),
]


@pytest.mark.parametrize(("pulls", "name", "may"), PLACES)
@pytest.mark.parametrize("endpoint", [PULL, PUSH], ids=by_path)
def test_a_transfer_is_only_with_the_registries_and_namespaces_of_the_plan(
    endpoint: Endpoint, pulls: Pulls, name: str, may: bool
) -> None:
    if may:
        assert models.canonical(name) == models.canonical(sent(ask(endpoint, model=name), pulls)["model"])
        return
    with pytest.raises(Forbidden):
        sent(ask(endpoint, model=name), pulls)


@pytest.mark.parametrize(("pulls", "name", "may"), PLACES)
def test_what_a_model_is_made_from_would_be_pulled_and_is_held_to_the_same(pulls: Pulls, name: str, may: bool) -> None:
    asked = ask(CREATE, model="mine", **{"from": name})
    if may:
        assert models.canonical(name) == models.canonical(sent(asked, pulls)["from"])
        return
    with pytest.raises(Forbidden):
        sent(asked, pulls)


@pytest.mark.parametrize("source", ["secret", "m:cloud", "x:", "https://x/y/z", "../../etc/passwd"])
def test_nothing_is_made_from_what_may_not_be_used(source: str) -> None:
    with pytest.raises(NoSuchModel):
        sent(ask(CREATE, model="mine", **{"from": source}))


@pytest.mark.parametrize("source", [1, True, ["m"], {"model": "m"}])
def test_what_a_model_is_made_from_is_a_name(source: object) -> None:
    with pytest.raises(NotUnderstood):
        sent(ask(CREATE, model="mine", **{"from": source}))


@pytest.mark.parametrize("endpoint", [CREATE, DELETE], ids=by_path)
def test_what_stays_on_the_box_may_be_called_anything(endpoint: Endpoint) -> None:
    assert {"model": "alice/m:latest"} == sent(ask(endpoint, model="alice/m"))


def test_what_else_a_create_says_is_sent_as_it_came() -> None:
    asked = Ask(CREATE, "m", fields={"model": b'"m"', "files": b'{ "a" : "sha256:0" }', "template": b'"\\u00e9"'})

    assert b'"files":{ "a" : "sha256:0" },"template":"\\u00e9"' in (permit(asked, plan(), owned).body or b"")


@pytest.mark.parametrize("endpoint", [PULL, PUSH, CREATE, BLOB], ids=by_path)
def test_whatever_moves_bytes_is_bounded_by_the_plan(endpoint: Endpoint) -> None:
    asked = Ask(BLOB, segment="sha256:00") if endpoint is BLOB else named(endpoint, "m")

    assert 7 == permit(asked, plan(Pulls(most_bytes=7)), owned).most_bytes


def test_a_blob_names_no_model_and_goes_where_it_was_meant() -> None:
    permitted = permit(Ask(BLOB, segment="sha256:00"), plan(), owned)

    assert ("/api/blobs/sha256:00", None) == (permitted.path, permitted.body)


# The whole of it, as the story asks.


@pytest.mark.parametrize("endpoint", WITH_BODY, ids=by_path)
def test_plan_and_key_cover_what_is_managed_though_it_need_not_be_there(endpoint: Endpoint) -> None:
    narrow = Caller("alice", "k1", Plan("ops", models=("llama3.2:*",), cloud=True), models=("llama3.2:1b",))

    assert "llama3.2:1b" == permit_any(narrow, named(endpoint, "LLAMA3.2:1B"), {}).model
    for other in ("llama3.2:3b", "mistral", "llama3.2:1b-cloud"):
        with pytest.raises(NoSuchModel):
            permit_any(narrow, named(endpoint, other), {})


@pytest.mark.parametrize(
    "asked",
    [ask(COPY, source="stub", destination="m"), ask(CREATE, model="m", **{"from": "stub"})],
    ids=["copy", "create"],
)
def test_a_stub_lends_its_name_to_nobody_without_leave(asked: Ask) -> None:
    installed = {models.canonical("stub"): Installed("stub:latest", elsewhere=True)}

    assert "m:latest" == permit_any(Caller("alice", "k1", Plan("ops", cloud=True)), asked, installed).model
    with pytest.raises(NoSuchModel):
        permit_any(Caller("alice", "k1", Plan("ops")), asked, installed)


def test_every_row_that_names_its_model_somewhere_is_one_of_the_two_ways() -> None:
    ways = {row.model_in for row in ENDPOINTS if row.risk is Risk.MANAGE}

    assert {ModelIn.COPY, ModelIn.BODY_OR_NAME, ModelIn.NOWHERE} == ways
