import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from proxy.errors import Forbidden, NoSuchModel
from proxy.policy import models
from proxy.policy.endpoints import ENDPOINTS, find
from proxy.policy.permit import Installed, InstalledModels, may_ask, may_see, may_use, permit, read_tags, wanted
from proxy.vocabulary import Ask, Caller, Endpoint, ModelIn, Part, Plan, Risk
from tests.policy.test_models import SCHEMES, SPELLINGS

CHAT = find("POST", "/api/chat")[0]
SHOW = find("POST", "/api/show")[0]
ONE_MODEL = find("GET", "/v1/models/x")[0]
SPEECH = find("POST", "/v1/audio/transcriptions")[0]
TAGS = find("GET", "/api/tags")[0]
COPY = find("POST", "/api/copy")[0]


def tags(*spellings: str, elsewhere: tuple[str, ...] = ()) -> InstalledModels:
    listed: list[dict[str, Any]] = [{"name": spelling, "model": spelling} for spelling in spellings]
    return read_tags(
        {"models": listed + [{"name": spelling, "remote_host": "https://ollama.com:443"} for spelling in elsewhere]}
    )


INSTALLED = tags("llama3.2:1b", "llama3.2:3b", "Mistral:latest", "HF.co/Bart/Gemma:Q4", elsewhere=("helper:latest",))


def caller(*patterns: str, narrowed: tuple[str, ...] | None = None, cloud: bool = False) -> Caller:
    return Caller("alice", "k1", Plan("default", models=patterns or ("*",), cloud=cloud), models=narrowed)


def ask(model: str, endpoint: Endpoint = CHAT) -> Ask:
    """As a dialect reads it."""
    match endpoint.model_in:
        case ModelIn.PATH | ModelIn.FORM:
            return Ask(endpoint, model=model)
        case _:
            return Ask(endpoint, model=model, fields={"model": json.dumps(model).encode(), "stream": b"true"})


# May this caller ask here at all?


@pytest.mark.parametrize("granted", Risk)
@pytest.mark.parametrize("owner", [True, False])
def test_a_plan_opens_the_classes_it_grants_and_no_other(granted: Risk, owner: bool) -> None:
    someone = replace(caller(), plan=Plan("narrow", grants=frozenset({granted}), owner=owner))
    opened = set()
    for endpoint in ENDPOINTS:
        try:
            may_ask(someone, endpoint)
            opened.add(endpoint.risk)
        except Forbidden:
            assert endpoint.risk is not granted or not owner

    assert opened == (set() if granted in (Risk.ACCOUNT, Risk.OUTBOUND) and not owner else {granted})


def test_by_default_a_plan_lets_nobody_change_the_box() -> None:
    for endpoint in ENDPOINTS:
        if endpoint.risk in (Risk.HEALTH, Risk.READ, Risk.INFERENCE):
            may_ask(caller(), endpoint)
            continue
        with pytest.raises(Forbidden, match=endpoint.risk):
            may_ask(caller(), endpoint)


# Which models may it use?


@pytest.mark.parametrize(
    ("patterns", "narrowed", "cloud", "model", "may"),
    [
        (("*",), None, False, "llama3.2:1b", True),
        (("llama3.2:*",), None, False, "LLAMA3.2:1b", True),
        (("llama3.2:*",), ("llama3.2:1b",), False, "llama3.2:1b", True),
        (("llama3.2:*", "mistral"), ("*",), False, "mistral", True),
        (("llama3.2:*",), ("llama3.2:1b",), False, "llama3.2:3b", False),
        (("llama3.2:1b",), ("*",), False, "mistral", False),
        (("*",), (), False, "mistral", False),
        (("*",), None, False, "llama3.2:1b-cloud", False),
        (("*",), None, True, "llama3.2:1b-cloud", True),
        (("mistral",), None, True, "llama3.2:1b-cloud", False),
        (("llama3.2:1b-cloud",), None, True, "llama3.2:1b:Cloud", True),
        (("llama3.2:1b-cloud",), None, True, "llama3.2:1b", False),
        (("llama3.2:1b-cloud",), None, False, "llama3.2:1b-cloud", False),
        (("*",), ("llama3.2:1b:cloud",), True, "llama3.2:1b", False),
        (("*",), ("mistral",), True, "llama3.2:1b-cloud", False),
    ],
)
def test_plan_and_key_must_both_cover_a_model_and_the_plan_let_it_leave_the_house(
    patterns: tuple[str, ...], narrowed: tuple[str, ...] | None, cloud: bool, model: str, may: bool
) -> None:
    someone = caller(*patterns, narrowed=narrowed, cloud=cloud)

    assert may is may_use(someone, models.canonical(model))
    assert may is may_see(someone, {}, model)


@pytest.mark.parametrize("spelling", ["", "a b", "x:", "https://x/y/z", "llama3.2:1b@sha256:00"])
def test_what_has_no_proper_name_is_seen_by_nobody(spelling: str) -> None:
    assert not may_see(caller(cloud=True), {}, spelling)


def test_a_stub_is_shown_only_to_who_may_let_it_leave_the_house() -> None:
    installed = {models.canonical("gpt-oss"): Installed("gpt-oss:latest", elsewhere=True)}

    assert not may_see(caller("*"), installed, "gpt-oss:latest")
    assert may_see(caller("*", cloud=True), installed, "gpt-oss:latest")


# Which model has to be there?


@pytest.mark.parametrize(
    ("someone", "asked", "name"),
    [
        (caller(), ask("Llama3.2:1B"), "llama3.2:1b"),
        (caller(), ask("registry.ollama.ai/library/mistral", ONE_MODEL), "mistral:latest"),
        (caller(), ask("mistral", SPEECH), "mistral:latest"),
        (caller("llama3.2:*"), ask("mistral"), None),
        (caller(narrowed=("llama3.2:*",)), ask("mistral"), None),
        (caller(), ask("mistral:7b-cloud"), None),
        (caller(cloud=True), ask("mistral:7b-cloud"), None),
        (caller(), Ask(TAGS), None),
        (caller(), ask("", COPY), None),
        (caller(), ask("new-model", find("POST", "/api/pull")[0]), None),
    ],
)
def test_only_what_this_caller_may_use_in_the_house_has_to_be_looked_for(
    someone: Caller, asked: Ask, name: str | None
) -> None:
    found = wanted(someone, asked)

    assert name == (None if found is None else str(found))


@pytest.mark.parametrize("model", ["", " ", "x:", "../../etc/passwd", *SCHEMES])
def test_a_model_without_a_proper_name_is_not_looked_for(model: str) -> None:
    with pytest.raises(NoSuchModel):
        wanted(caller(), ask(model))
    with pytest.raises(NoSuchModel):
        permit(caller(), ask(model), INSTALLED)


# What is sent?


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("endpoint", [CHAT, SHOW, ONE_MODEL, SPEECH], ids=lambda endpoint: endpoint.path)
def test_every_spelling_of_an_allowed_model_is_sent_as_it_is_installed(endpoint: Endpoint, spelling: str) -> None:
    permitted = permit(caller("llama3.2:1b"), ask(spelling, endpoint), INSTALLED)

    assert ("llama3.2:1b", "llama3.2:1b") == (permitted.model, permitted.spelling)
    match endpoint.model_in:
        case ModelIn.PATH:
            assert ("/v1/models/llama3.2:1b", None) == (permitted.path, permitted.body)
        case ModelIn.FORM:
            assert b'; name="model"\r\n\r\nllama3.2:1b\r\n' in (permitted.body or b"")
        case _:
            assert "llama3.2:1b" == json.loads(permitted.body or b"")["model"]
            assert endpoint.path == permitted.path


@pytest.mark.parametrize("spelling", SPELLINGS + SCHEMES)
@pytest.mark.parametrize("endpoint", [CHAT, SHOW, ONE_MODEL, SPEECH], ids=lambda endpoint: endpoint.path)
def test_no_spelling_of_a_forbidden_model_gets_past(endpoint: Endpoint, spelling: str) -> None:
    with pytest.raises(NoSuchModel):
        permit(caller("mistral", "llama3.2:3b"), ask(spelling, endpoint), INSTALLED)


@pytest.mark.parametrize(
    ("model", "spelling", "canonical"),
    [
        ("mistral", "Mistral:latest", "mistral:latest"),
        ("MISTRAL:Latest:local", "Mistral:latest", "mistral:latest"),
        ("hf.co/bart/gemma:q4", "HF.co/Bart/Gemma:Q4", "hf.co/bart/gemma:q4"),
    ],
)
def test_the_spelling_is_ollamas_own_and_the_name_the_canonical_one(model: str, spelling: str, canonical: str) -> None:
    permitted = permit(caller(), ask(model), INSTALLED)

    assert (canonical, spelling) == (permitted.model, permitted.spelling)
    assert spelling == json.loads(permitted.body or b"")["model"]


def test_a_name_with_slashes_is_sent_in_the_one_segment_of_its_path() -> None:
    assert "HF.co/Bart/Gemma:Q4" == permit(caller(), ask("hf.co/bart/gemma:q4", ONE_MODEL), INSTALLED).segment


@pytest.mark.parametrize(
    "fields",
    [
        {"name": b'"LLAMA3.2:1B"'},
        {"model": b'""', "name": b'"llama3.2:1b"'},
        {"model": b"null", "name": b'"llama3.2:1b"'},
        {"model": b'"llama3.2:1b"', "name": b'"forbidden"'},
        {"name": b'"forbidden"', "model": b'"llama3.2:1b"'},
    ],
)
def test_of_the_two_words_for_a_model_only_the_checked_one_is_sent(fields: Mapping[str, bytes]) -> None:
    asked = Ask(SHOW, model="llama3.2:1b", fields={**fields, "verbose": b"true"})

    assert {"verbose": True, "model": "llama3.2:1b"} == json.loads(permit(caller(), asked, INSTALLED).body or b"")


def test_a_stray_name_is_not_sent_where_it_means_nothing_either() -> None:
    asked = Ask(CHAT, model="llama3.2:1b", fields={"model": b'"llama3.2:1b"', "name": b'"forbidden"'})

    assert b"forbidden" not in (permit(caller(), asked, INSTALLED).body or b"")


def test_the_other_members_are_sent_as_they_came() -> None:
    messages = b'[ {"role" : "user", "content":"\\u00e9" } ]'
    asked = Ask(CHAT, model="mistral", fields={"a": b"1.0e2", "model": b'"mistral"', "messages": messages})
    body = permit(caller(), asked, INSTALLED).body or b""

    assert b'"a":1.0e2' in body
    assert b'"messages":' + messages in body


def test_the_other_parts_of_a_form_are_sent_as_they_came() -> None:
    sound = Part("file", b"RIFF\r\n--x", "audio.wav", "audio/wav")
    permitted = permit(caller(), Ask(SPEECH, model="mistral", parts=(sound,)), INSTALLED)

    assert (sound,) == permitted.parts
    assert b"RIFF\r\n--x" in (permitted.body or b"")


def test_knobs_are_the_plans() -> None:
    asked = Ask(CHAT, model="mistral", fields={"model": b'"mistral"', "options": b'{"num_gpu":99}'})
    permitted = permit(caller(), asked, INSTALLED)

    assert "num_gpu" not in json.loads(permitted.body or b"")["options"]
    assert permitted.changes


def test_an_endpoint_that_names_no_model_needs_no_leave_for_one() -> None:
    asked = Ask(TAGS)

    assert asked is permit(caller(narrowed=()), asked, INSTALLED)


# How is one refused?


def told(someone: Caller, asked: Ask, installed: InstalledModels = INSTALLED) -> str:
    with pytest.raises(NoSuchModel) as raised:
        permit(someone, asked, installed)

    assert (404, "model_not_found") == (raised.value.status, raised.value.code)
    return raised.value.message


@pytest.mark.parametrize("endpoint", [CHAT, SHOW, ONE_MODEL, SPEECH], ids=lambda endpoint: endpoint.path)
@pytest.mark.parametrize(
    "secret",
    ["mistral", "secret-model:7b", "llama3.2:9b", "llama3.2:1b-cloud", "helper", "hf.co/bart/gemma:q4"],
)
def test_forbidden_and_absent_are_refused_in_the_very_same_words(endpoint: Endpoint, secret: str) -> None:
    narrow = caller("llama3.2:1b", "llama3.2:3b", "helper")
    there, gone = dict(INSTALLED), dict(INSTALLED)
    there.setdefault(models.canonical(secret), Installed(secret))
    gone.pop(models.canonical(secret), None)
    assert told(narrow, ask(secret, endpoint), there) == told(narrow, ask(secret, endpoint), gone)


def test_a_refusal_names_the_nearest_that_this_caller_may_use_and_nothing_else() -> None:
    message = told(caller("llama3.2:*"), ask("mistral"))

    assert "There is no such model for this key. Nearest are: llama3.2:1b, llama3.2:3b." == message
    assert message == told(caller("llama3.2:*"), ask("absent"))
    assert "Nearest are: mistral:latest" in told(caller(), ask("mistrl"))


def test_a_refusal_names_no_more_than_three() -> None:
    installed = tags(*(f"m:{number}b" for number in range(9)))

    assert 3 == told(caller(), ask("m:10b"), installed).count("b,") + 1


def test_the_nearest_is_found_among_many_that_are_much_alike() -> None:
    installed = tags("ab:latest", *(f"hf.co/maker/some-model-{number}b-it-gguf:q4_k_m" for number in range(300)))

    assert "Nearest are: hf.co/maker/some-model-277b-it-gguf:q4_k_m," in told(
        caller(), ask("hf.co/maker/some-model-277b-gguf:q4_k_m"), installed
    )
    assert "Nearest are: ab:latest" in told(caller(), ask("abc"), installed)


@pytest.mark.parametrize(
    ("someone", "installed"), [(caller(), {}), (caller("other"), INSTALLED), (caller(narrowed=()), INSTALLED)]
)
def test_where_nothing_may_be_used_nothing_is_named(someone: Caller, installed: InstalledModels) -> None:
    assert NoSuchModel.default == told(someone, ask("mistral"), installed)


# Who may leave the house?

CLOUD = ["llama3.2:1b:cloud", "llama3.2:1b-cloud", "llama3.2:1B-CLOUD", "llama3.2:cloud", "llama3.2: 1b-cloud"]


@pytest.mark.parametrize("spelling", [*CLOUD, "llama3.2:1b: Cloud"])
@pytest.mark.parametrize("endpoint", [CHAT, SHOW, ONE_MODEL, SPEECH], ids=lambda endpoint: endpoint.path)
def test_a_cloud_model_is_none_without_leave_even_where_its_base_or_its_stub_is_installed(
    endpoint: Endpoint, spelling: str
) -> None:
    installed = {**INSTALLED, **tags(elsewhere=("llama3.2:1b-cloud", "llama3.2:cloud"))}

    assert told(caller(), ask(spelling, endpoint), installed)


@pytest.mark.parametrize(
    ("spelling", "sent"),
    [
        ("gpt-oss:120b:Cloud", "gpt-oss:120b-cloud"),  # As the stub is listed, which older versions of Ollama need.
        ("GPT-oss:cloud", "gpt-oss:latest:cloud"),
    ],
)
def test_a_plan_with_leave_may_send_a_covered_model_out_of_the_house_installed_or_not(spelling: str, sent: str) -> None:
    someone = caller("gpt-oss:*", cloud=True)

    assert ":cloud" in permit(someone, ask(spelling), {}).spelling
    assert sent == permit(someone, ask(spelling), tags(elsewhere=("gpt-oss:120b-cloud",))).spelling
    assert told(someone, ask("llama3.2:cloud"))


@pytest.mark.parametrize("spelling", ["helper", "HELPER:latest:local"])
def test_a_stub_that_runs_elsewhere_needs_leave_though_its_name_looks_like_one_of_the_house(spelling: str) -> None:
    assert told(caller(), ask(spelling))
    assert "helper:latest" == permit(caller(cloud=True), ask(spelling), INSTALLED).spelling


def test_a_stub_is_not_named_to_who_may_not_use_it() -> None:
    assert "helper" not in told(caller(), ask("helpr"))
    assert "helper" in told(caller(cloud=True), ask("helpr"))


def test_an_installed_cloud_stub_is_not_named_to_who_may_not_use_it() -> None:
    assert "cloud" not in told(caller(), ask("gpt-oss:120b"), tags(elsewhere=("gpt-oss:120b-cloud",)))


# What does Ollama have?


def test_ollamas_list_is_read_by_canonical_names() -> None:
    assert {
        models.canonical("llama3.2:1b"): Installed("LLaMA3.2:1B"),
        models.canonical("m:latest"): Installed("m:latest", elsewhere=True),
    } == tags("LLaMA3.2:1B", elsewhere=("m:latest",))


@pytest.mark.parametrize(
    "listed",
    [
        {},
        {"models": None},
        {"models": {}},
        {"models": "x"},
        {"models": [None, 1, "x", [], {}, {"name": None}, {"name": 7}, {"name": ""}, {"name": "a b"}, {"model": "x"}]},
    ],
)
def test_what_has_no_proper_name_is_not_in_the_list(listed: Mapping[str, Any]) -> None:
    assert {} == read_tags(listed)


@pytest.mark.parametrize("remote", [None, ""])
def test_a_stub_without_a_host_is_of_the_house(remote: str | None) -> None:
    assert [Installed("m:1b")] == list(read_tags({"models": [{"name": "m:1b", "remote_host": remote}]}).values())


@pytest.mark.parametrize("endpoint", [row for row in ENDPOINTS if row.risk is Risk.INFERENCE], ids=lambda row: row.path)
def test_whatever_generates_is_sent_under_the_installed_name(endpoint: Endpoint) -> None:
    permitted = permit(caller(), ask("MISTRAL", endpoint), INSTALLED)

    assert b"Mistral:latest" in (permitted.body or b"")
    assert b"MISTRAL" not in (permitted.body or b"")
    assert endpoint.path == permitted.path
