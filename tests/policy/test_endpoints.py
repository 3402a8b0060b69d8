from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.errors import NoSuchRoute, WrongMethod
from proxy.policy.endpoints import ENDPOINTS, SEGMENTS, find, known, tongue_of
from proxy.vocabulary import SEGMENT, Endpoint, ModelIn, Risk, Takes, Tongue, UsageIn

HASH = "0123456789abcdefABCDEF" + "0" * 42
FILLED = {
    f"/v1/models/{SEGMENT}": "llama3.2:1b",
    f"/api/blobs/{SEGMENT}": f"sha256:{HASH}",
    f"/api/user/keys/{SEGMENT}": "c3NoLWVkMjU1MTk=",
}

ROUTES = """
HEAD   /                                       ollama        health     nothing  nowhere                 nowhere             never
GET    /                                       ollama        health     nothing  nowhere                 nowhere             never
HEAD   /api/version                            ollama        health     nothing  nowhere                 nowhere             never
GET    /api/version                            ollama        health     nothing  nowhere                 nowhere             never
GET    /api/status                             ollama        account    nothing  nowhere                 nowhere             never
POST   /api/pull                               ollama        manage     json     body-or-name            nowhere             streams
POST   /api/push                               ollama        manage     json     body-or-name            nowhere             streams
HEAD   /api/tags                               ollama        read       nothing  nowhere                 nowhere             never
GET    /api/tags                               ollama        read       nothing  nowhere                 nowhere             never
POST   /api/show                               ollama        read       json     body-or-name            nowhere             never
DELETE /api/delete                             ollama        manage     json     body-or-name            nowhere             never
POST   /api/me                                 ollama        account    nothing  nowhere                 nowhere             never
POST   /api/signout                            ollama        account    nothing  nowhere                 nowhere             never
DELETE /api/user/keys/{segment}                ollama        account    nothing  nowhere                 nowhere             never
POST   /api/create                             ollama        manage     json     body-or-name            nowhere             streams
POST   /api/blobs/{segment}                    ollama        manage     bytes    nowhere                 nowhere             never
HEAD   /api/blobs/{segment}                    ollama        manage     nothing  nowhere                 nowhere             never
POST   /api/copy                               ollama        manage     json     source-and-destination  nowhere             never
POST   /api/experimental/web_search            ollama        outbound   json     nowhere                 nowhere             never
POST   /api/experimental/web_fetch             ollama        outbound   json     nowhere                 nowhere             never
GET    /api/experimental/model-recommendations ollama        outbound   nothing  nowhere                 nowhere             never
GET    /api/ps                                 ollama        read       nothing  nowhere                 nowhere             never
POST   /api/generate                           ollama        inference  json     body                    done                streams
POST   /api/chat                               ollama        inference  json     body                    done                streams
POST   /api/embed                              ollama        inference  json     body                    done                never
POST   /api/embeddings                         ollama        inference  json     body                    untold              never
POST   /v1/chat/completions                    openai        inference  json     body                    usage               asked
POST   /v1/completions                         openai        inference  json     body                    usage               asked
POST   /v1/embeddings                          openai        inference  json     body                    usage               never
GET    /v1/models                              openai        read       nothing  nowhere                 nowhere             never
GET    /v1/models/{segment}                    openai        read       nothing  path                    nowhere             never
POST   /v1/responses                           responses     inference  json     body                    response.completed  asked
POST   /v1/audio/transcriptions                transcription inference  form     form                    untold              never
POST   /v1/messages                            anthropic     inference  json     body                    message_delta       asked
"""  # noqa: E501
STREAMS = {"never": None, "streams": True, "asked": False}


def told(row: str) -> Endpoint:
    method, path, tongue, risk, takes, model_in, usage_in, streams = row.split()
    return Endpoint(
        method,
        path,
        Tongue(tongue),
        Risk(risk),
        Takes(takes),
        ModelIn(model_in.replace("-", " ")),
        UsageIn(usage_in),
        STREAMS[streams],
    )


ROWS = [told(row) for row in ROUTES.strip().splitlines()]
OWN = [
    Endpoint("GET", "/v1/key", Tongue.OPENAI, Risk.READ, own=True),
    Endpoint("GET", "/v1/usage", Tongue.OPENAI, Risk.READ, own=True, query=("since", "until", "by", "tz")),
    Endpoint("GET", "/v1/doctor", Tongue.OPENAI, Risk.READ, own=True, query=("wait", "events", "every")),
]


def named(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


def test_all_of_ollamas_routes_are_known_for_what_they_are_and_no_others() -> None:
    assert 34 == len(ROWS)
    assert {*ROWS, *OWN} == set(ENDPOINTS)
    assert len(ROWS) + len(OWN) == len(ENDPOINTS)


def test_the_gates_own_routes_are_read_with_get_and_ask_for_no_model() -> None:
    for row in OWN:
        assert ("GET", Risk.READ, ModelIn.NOWHERE) == (row.method, row.risk, row.model_in)
        for method in ("HEAD", "POST", "PUT", "DELETE"):
            with pytest.raises(WrongMethod):
                find(method, row.path)


@pytest.mark.parametrize("row", [*ROWS, *OWN], ids=named)
def test_every_row_is_found_by_its_method_and_path(row: Endpoint) -> None:
    segment = FILLED.get(row.path, "")
    path = row.path.replace(SEGMENT, segment)

    assert (row, segment) == find(row.method, path)
    assert row == known(row.method, path)


def test_whatever_generates_names_its_model_costs_something_and_is_posted() -> None:
    for row in ENDPOINTS:
        if row.risk is Risk.INFERENCE:
            assert "POST" == row.method
            assert ModelIn.NOWHERE is not row.model_in
            assert UsageIn.NOWHERE is not row.usage_in
        else:
            assert UsageIn.NOWHERE is row.usage_in


def test_whatever_has_a_variable_place_says_what_may_stand_in_it() -> None:
    assert {row.path for row in ENDPOINTS if SEGMENT in row.path} == SEGMENTS.keys()


@pytest.mark.parametrize(
    "path",
    """
    /v1/messages/count_tokens /v1/messages/batches /v1/responses/resp_1 /v1/moderations /v1/files /v1/audio/speech
    /v1/images/generations /v1/images/edits /v1/audio/translations /v1/engines /v1/rerank
    /api/experimental/aliases /api/experimental /api/user/keys /api/blobs /api/tokenize /api/unload
    /metrics /health /debug/pprof /debug /api /v1 /api/tomorrow /{segment} /favicon.ico
    """.split(),
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
def test_old_routes_new_ones_and_those_of_others_are_closed(method: str, path: str) -> None:
    with pytest.raises(NoSuchRoute):
        find(method, path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "//",
        "//api/chat",
        "/api//chat",
        "/api/chat/",
        "/api/./chat",
        "/./api/chat",
        "/api/x/../chat",
        "/api/chat/../pull",
        "/api/%2e%2e/api/pull",
        "/API/chat",
        "/api/Chat",
        "/api/%63hat",
        "/api/%70ull",
        "/api%2Fchat",
        "/api%2Fpull",
        "/api/chat%00",
        "/api/chat;x=1",
        "/api/chat?model=x",
        "/api/chat#x",
        "/api/chat\n",
        "/api/chat ",
        " /api/chat",
        "/api\\chat",
        "api/chat",
        "http://x/api/chat",
        "/api/\uff43hat",
        "*",
        # What has a variable place, with what may not stand in it.
        "/v1/models/",
        "/v1/models/a/b",
        "/v1/models/a/../../api/pull",
        "/v1/models/{segment}",
        "/v1/models/{x}",
        "/v1/models/" + "a" * 513,
        "/V1/models/a",
        "/api/blobs/",
        "/api/blobs/{segment}",
        "/api/blobs/sha256:00",
        f"/api/blobs/sha256:{HASH}0",
        f"/api/blobs/sha256:{HASH}\n",
        f"/api/blobs/SHA256:{HASH}",
        f"/api/blobs/sha512:{HASH}",
        f"/api/blobs/sha256%3A{HASH}",
        f"/api/blobs/sha256:{HASH[:-1]}g",
        f"/api/blobs/sha256:{HASH}/x",
        f"/api/blobs/../blobs/sha256:{HASH}",
        "/api/user/keys/",
        "/api/user/keys/a/b",
        "/api/user/keys/..",
        "/api/user/keys/%61",
        "/api/user/keys/a+b",
        "/api/user/keys/" + "a" * 257,
    ],
)
def test_a_path_is_matched_byte_for_byte(path: str) -> None:
    for method in ("GET", "HEAD", "POST", "DELETE"):
        with pytest.raises(NoSuchRoute):
            find(method, path)

        assert known(method, path) is None


METHODS = ["", *"GET HEAD POST PUT PATCH DELETE OPTIONS TRACE CONNECT PROPFIND get post".split()]


@pytest.mark.parametrize("path", sorted({row.path for row in ROWS}))
@pytest.mark.parametrize("method", METHODS)
def test_a_wrong_method_is_told_the_right_ones(method: str, path: str) -> None:
    right = {row.method for row in ROWS if row.path == path}
    asked = path.replace(SEGMENT, FILLED.get(path, ""))
    if method in right:
        assert find(method, asked)
        return
    with pytest.raises(WrongMethod) as raised:
        find(method, asked)

    assert right == set(raised.value.headers["Allow"].split(", "))
    assert known(method, asked) is None


@pytest.mark.parametrize(
    ("asked", "segment"),
    [
        ("x", "x"),
        ("llama3.2:1b", "llama3.2:1b"),
        ("llama3.2%3A1b", "llama3.2:1b"),
        ("llama3.2%3a1b", "llama3.2:1b"),
        ("hf.co%2Fbart%2Fgemma:q4", "hf.co/bart/gemma:q4"),
        ("%6Clama3.2", "llama3.2"),
        ("%2e%2e", ".."),
        ("..", ".."),
        ("a%253Ab", "a%3Ab"),  # Once, as Ollama does.
        ("a%zz", "a%zz"),
        ("a%ff", "a\ufffd"),
        ("a+b", "a+b"),
        ("a%0a", "a\n"),
        ("\u2603", "\u2603"),
    ],
)
def test_a_models_name_in_a_path_is_decoded_once_and_left_to_be_checked(asked: str, segment: str) -> None:
    assert segment == find("GET", f"/v1/models/{asked}")[1]


@pytest.mark.parametrize("digest", [f"sha256:{HASH}", f"sha256-{HASH}"])
def test_a_blob_is_named_by_its_hash_in_either_spelling(digest: str) -> None:
    assert digest == find("HEAD", f"/api/blobs/{digest}")[1]


CONSTANT = {(row.method, row.path) for row in ROWS if SEGMENT not in row.path}
VARIABLE = {"/v1/models/": {"GET"}, "/api/blobs/sha256": {"POST", "HEAD"}, "/api/user/keys/": {"DELETE"}}
ANYTHING = st.text(st.characters(exclude_categories=[]))
PIECES = [*"/.:%?#\\ \n;{}aA1", "api", "v1", "chat", "models", "blobs", "pull", "sha256", "2e", "2F", "/..", SEGMENT]
PATH_LIKE = st.lists(st.sampled_from(PIECES), max_size=10).map("".join)


@given(st.sampled_from(METHODS) | ANYTHING, ANYTHING | PATH_LIKE, st.sampled_from(ROWS))
@example("GET", "models/x", ROWS[0])
def test_no_other_path_or_method_is_ever_found(method: str, text: str, near: Endpoint) -> None:
    for path in (text, f"/{text}", f"/v1/models/{text}", f"{near.path}{text}", f"{text}{near.path}"):
        found = None
        with suppress(NoSuchRoute, WrongMethod):
            found, _ = find(method, path)
        if found is not None and (method, path) not in CONSTANT:
            (start,) = (start for start in VARIABLE if path.startswith(start))

            assert method in VARIABLE[start]
            assert "/" not in path.removeprefix(start)
        assert found == known(method, path)
        assert tongue_of(path) in Tongue


CURES = [
    ("/v1/v1/chat/completions", "leave it out"),
    ("/v1/v1/messages", "leave it out"),
    ("/messages", "must end with /v1"),
    ("/v1/v1/models", "leave it out"),
    ("/v1/api/chat", "must not end with /v1"),
    ("/v1/api/tags", "must not end with /v1"),
    ("/chat/completions", "must end with /v1"),
    ("/completions", "must end with /v1"),
    ("/embeddings", "must end with /v1"),
    ("/models", "must end with /v1"),
    ("/responses", "must end with /v1"),
    ("/audio/transcriptions", "must end with /v1"),
]


@pytest.mark.parametrize(("path", "cure"), CURES)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_who_has_a_usual_mistake_in_the_base_url_is_told_the_cure(method: str, path: str, cure: str) -> None:
    with pytest.raises(NoSuchRoute) as raised:
        find(method, path)

    assert "base URL" in raised.value.message
    assert cure in raised.value.message


@pytest.mark.parametrize("path", "/anything /v1 /v1/anything /api/anything /v2/chat/completions /v1/v1".split())
def test_no_cure_is_told_where_none_is_known(path: str) -> None:
    with pytest.raises(NoSuchRoute) as raised:
        find("POST", path)

    assert NoSuchRoute.default == raised.value.message


@pytest.mark.parametrize(
    ("path", "tongue"),
    [
        ("/v1/messages", Tongue.ANTHROPIC),
        ("/v1/messages/count_tokens", Tongue.ANTHROPIC),
        ("/v1/v1/messages", Tongue.ANTHROPIC),
        ("/messages", Tongue.ANTHROPIC),
        ("/v1/messagesx", Tongue.OPENAI),
        ("/v1", Tongue.OPENAI),
        ("/v1/anything", Tongue.OPENAI),
        ("/v1/v1/chat/completions", Tongue.OPENAI),
        ("/chat/completions", Tongue.OPENAI),
        ("/models", Tongue.OPENAI),
        ("/v1x", Tongue.OLLAMA),
        ("/api/chat", Tongue.OLLAMA),
        ("/anything", Tongue.OLLAMA),
        ("", Tongue.OLLAMA),
    ],
)
def test_a_refusal_is_told_in_the_tongue_of_its_path(path: str, tongue: Tongue) -> None:
    assert tongue is tongue_of(path)


FAMILY = {Tongue.RESPONSES: Tongue.OPENAI, Tongue.TRANSCRIPTION: Tongue.OPENAI}
"""These refuse as the rest of OpenAI's part does."""


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_a_row_is_refused_in_its_own_family(row: Endpoint) -> None:
    assert FAMILY.get(row.tongue, row.tongue) is tongue_of(row.path)
