from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import NoSuchRoute, WrongMethod
from proxy.policy.endpoints import ENDPOINTS, find, known, tongue_of
from proxy.vocabulary import Endpoint, Risk, Tongue


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_every_row_is_found_by_its_method_and_path(endpoint: Endpoint) -> None:
    path = endpoint.path.replace("{model}", "llama3.2:1b")

    assert (endpoint, "llama3.2:1b" if path != endpoint.path else "") == find(endpoint.method, path)
    assert endpoint == known(endpoint.method, path)


def test_no_row_hides_another() -> None:
    assert len(ENDPOINTS) == len({(row.method, row.path) for row in ENDPOINTS})


@pytest.mark.parametrize(
    ("method", "path", "risk", "names_model", "streams"),
    [
        ("HEAD", "/", Risk.HEALTH, False, None),
        ("GET", "/api/tags", Risk.READ, False, None),
        ("POST", "/api/show", Risk.READ, True, None),
        ("POST", "/api/generate", Risk.INFERENCE, True, True),
        ("POST", "/api/chat", Risk.INFERENCE, True, True),
        ("POST", "/api/embed", Risk.INFERENCE, True, None),
        ("POST", "/v1/chat/completions", Risk.INFERENCE, True, False),
        ("POST", "/v1/messages", Risk.INFERENCE, True, False),
        ("GET", "/v1/models/x", Risk.READ, True, None),
    ],
)
def test_a_row_says_what_it_risks_and_how_it_answers(
    method: str, path: str, risk: Risk, names_model: bool, streams: bool | None
) -> None:
    row, _ = find(method, path)

    assert (risk, names_model, streams) == (row.risk, row.names_model, row.streams)


def test_whatever_generates_names_its_model_and_is_posted() -> None:
    assert {("POST", True)} == {(row.method, row.names_model) for row in ENDPOINTS if row.risk is Risk.INFERENCE}


@pytest.mark.parametrize(
    "path",
    """
    /api/pull /api/push /api/create /api/copy /api/delete /api/me /api/signout /api/status
    /api/blobs/sha256:00 /api/user/keys/x /api/experimental/web_search /api/experimental/web_fetch
    /api/experimental/model-recommendations /v1/responses /v1/audio/transcriptions /v1/images/generations
    /metrics /debug/pprof /api /v1 /api/tomorrow
    """.split(),
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
def test_what_risks_the_box_and_what_nobody_knows_yet_is_closed(method: str, path: str) -> None:
    with pytest.raises(NoSuchRoute):
        find(method, path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "//api/chat",
        "/api//chat",
        "/api/chat/",
        "/api/./chat",
        "/api/x/../chat",
        "/API/chat",
        "/api/Chat",
        "/api/%63hat",
        "/api%2Fchat",
        "/api/chat%00",
        "/api/chat;x=1",
        "/api/chat?model=x",
        "/api/chat\n",
        "/api/chat ",
        "api/chat",
        "http://x/api/chat",
        "/api/\uff43hat",
        "/v1/models/",
        "/v1/models/a/b",
        "/v1/models/a/../../api/pull",
        "*",
    ],
)
def test_a_path_is_matched_byte_for_byte(path: str) -> None:
    for method in ("GET", "POST"):
        with pytest.raises(NoSuchRoute):
            find(method, path)

        assert known(method, path) is None


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/", "GET HEAD"),
        ("GET", "/api/chat", "POST"),
        ("post", "/api/chat", "POST"),
        ("OPTIONS", "/v1/messages", "POST"),
        ("DELETE", "/v1/models/x", "GET"),
        ("HEAD", "/api/ps", "GET"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(method: str, path: str, allowed: str) -> None:
    with pytest.raises(WrongMethod) as raised:
        find(method, path)

    assert tuple(allowed.split()) == raised.value.allowed
    assert known(method, path) is None


@pytest.mark.parametrize("segment", ["x", "llama3.2:1b", "..", "%2e%2e", "a b", "\u2603"])
def test_what_a_path_names_is_handed_on_as_it_came(segment: str) -> None:
    assert segment == find("GET", f"/v1/models/{segment}")[1]


@given(st.text(st.characters(exclude_categories=[])), st.text(st.characters(exclude_categories=[])))
def test_no_path_raises_anything_but_a_refusal(method: str, path: str) -> None:
    for asked in (path, f"/{path}", f"/v1/models/{path}"):
        with suppress(NoSuchRoute, WrongMethod):
            find(method, asked)
        assert tongue_of(asked) in Tongue


@pytest.mark.parametrize(
    ("path", "tongue"),
    [
        ("/v1/messages", Tongue.ANTHROPIC),
        ("/v1/messages/count_tokens", Tongue.ANTHROPIC),
        ("/v1/messagesx", Tongue.OPENAI),
        ("/v1", Tongue.OPENAI),
        ("/v1/anything", Tongue.OPENAI),
        ("/v1x", Tongue.OLLAMA),
        ("/api/chat", Tongue.OLLAMA),
        ("/anything", Tongue.OLLAMA),
        ("", Tongue.OLLAMA),
    ],
)
def test_a_refusal_is_told_in_the_tongue_of_its_path(path: str, tongue: Tongue) -> None:
    assert tongue is tongue_of(path)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_a_row_is_refused_in_its_own_tongue(endpoint: Endpoint) -> None:
    assert endpoint.tongue is tongue_of(endpoint.path)
