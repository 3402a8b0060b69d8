"""Paths that mean another route to whoever decodes, cleans or joins them, and routes that are not for everybody."""

from proxy.vocabulary import Tongue
from tests.security.vectors.case import (
    CHAT,
    HOST,
    MARK,
    SERVED,
    VERSION_SENT,
    Case,
    answered_no,
    call_refused,
    get,
    grouped,
    post,
    text_of,
)

SPELLED = """
/v1/../api/delete /v1/%2e%2e/api/delete /v1/%2E%2E%2Fapi/delete /v1/x/..%2f..%2fapi/pull /v1/%252e%252e/api/pull
/v1/%EF%BC%8E%EF%BC%8E/api/pull /%u002e%u002e/ /v1/..;/api/pull /api/chat/../pull /api/%2e%2e/api/pull /api/./pull
/../api/chat /./api/chat /api/../api/chat //api/pull /api//pull /api/pull/ /API/pull /Api/Pull /api%5cpull /api%2fpull
/api/%70ull /api/pull;x=1 /api/pull%00 /api/pull%20 /api/pull%0d%0aX:1 /api/pull%23 ///evil.example/v1/models
//evil.example/api/chat /api/%63hat /api%2Fchat /api/chat/ /API/chat /api/chat; /api/chat%20 /api/chat%09 /api/chat%0a
/v1/%63hat/completions /v1//chat/completions /v1/chat/completions/ /v1/models/a/b /V1/responses /api/blobs/sha256:0
/api/user/keys/a/b /api/%zz /% /% /debug/pprof/heap /debug/pprof/profile?seconds=600 /metrics /readyz /healthz/
/healthz?x=ZQCANARY /healthz%23 /HEALTHZ /favicon.ico /.git/config /.env /server-status /admin /api /v1 /api/ZQCANARY
/v1/ZQCANARY /cgi-bin/ZQCANARY /healthz/../api/tags /api/pull&x=1 /api/pull:80 /~root /api/*/chat /%2fapi/chat
/.%2e/api/chat /...
""".split()
NO_MODELS = (
    "/v1/models/%7Bmodel%7D /v1/models/..%2f..%2fapi%2fpull /v1/models/.. /v1/models/%2e%2e /v1/models/%zz".split()
)
"""What stands in the variable place of a route is a name, whatever it looks like, and is looked up among the names."""
FORBIDDEN = {
    "POST": f"""
/api/pull /api/push /api/create /api/copy /api/blobs/sha256:{"0" * 64} /api/me /api/signout
/api/experimental/web_fetch /api/experimental/web_search
""".split(),
    "DELETE": "/api/delete /api/user/keys/a2V5".split(),
    "GET": "/api/status /api/experimental/model-recommendations".split(),
    "HEAD": ["/api/blobs/sha256:" + "0" * 64],
}
MIXED = {
    "GET": "/api/chat /api/delete /v1/responses /v1/messages /api/pull",
    "POST": "/api/tags /api/ps /api/delete /v1/models /api/version /",
    "PUT": "/api/chat /v1/messages /api/blobs/sha256:" + "0" * 64,
    "DELETE": "/v1/models/llama3.2:1b /api/chat",
    "PATCH": "/ /api/chat",
    "OPTIONS": "/v1/chat/completions /api/chat",
    "TRACE": "/ /api/tags",
    "HEAD": "/v1/models /api/chat",
}
CALM = "?x=1 ?x=ZQCANARY ?api_key=ZQCANARY ?access_token=ZQCANARY ? ?? ?a=%00 ?a=/../.. ?_method=DELETE ?a=%zz".split()


def _tongue(path: str) -> Tongue:
    if path.startswith("/v1/messages"):
        return Tongue.ANTHROPIC
    return Tongue.OPENAI if path.startswith("/v1/") or path == "/v1" else Tongue.OLLAMA


def _unless_head(method: str, status: int, reason: str, path: str) -> Case:
    said = call_refused(status, reason, _tongue(path), is_bodiless=method == "HEAD")
    return answered_no(f"{method} {path}", get(b"Content-Length: 0", line=f"{method} {path} HTTP/1.1".encode()), said)


CASES: tuple[Case, ...] = grouped(
    "routes",
    [
        *(
            answered_no(
                path,
                get(line=f"GET {path} HTTP/1.1".encode())
                if number % 2
                else post(CHAT, line=f"POST {path} HTTP/1.1".encode()),
                call_refused(404, "no_such_route", _tongue(path)),
            )
            for number, path in enumerate(dict.fromkeys(SPELLED))
        ),
        *(
            answered_no(
                f"no such model: {path}",
                get(line=f"GET {path} HTTP/1.1".encode()),
                call_refused(404, "model_not_found", Tongue.OPENAI),
            )
            for path in NO_MODELS
        ),
        *(_unless_head(method, 403, "forbidden", path) for method, paths in FORBIDDEN.items() for path in paths),
        *(_unless_head(method, 405, "wrong_method", path) for method, paths in MIXED.items() for path in paths.split()),
        *(
            Case(
                f"a query: {one}",
                get(line=f"GET /api/version{one} HTTP/1.1".encode()),
                (SERVED,),
                (VERSION_SENT,),
                True,
            )
            for one in CALM
        ),
        *(
            answered_no(
                f"without a key, {path}",
                text_of((f"GET {path} HTTP/1.1".encode(), HOST, MARK)),
                call_refused(401, "invalid_api_key.nothing_shown", _tongue(path)),
            )
            for path in (
                "/api/pull",
                "/api/nothing",
                "/v1/models",
                "/v1/nothing",
                "/v1/messages",
                "/",
                "/metrics",
                "/healthz?",
            )
        ),
    ],
)
