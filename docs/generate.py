"""Writes the pages that follow from the code: ``python -m docs.generate``; with ``--check`` it only looks at them.

``commands.md`` comes from the command line's app, ``errors.md`` from the errors and what is said of each here.
"""

import enum
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from proxy import errors
from proxy.admin.cli import app
from proxy.errors import (
    BackendRefused,
    ClientGone,
    Died,
    GateError,
    Misconfigured,
    ModelServerBusy,
    Refused,
    TooManyFailures,
    Unauthenticated,
    Why,
)
from proxy.web.connection import TooManyConnections
from proxy.web.framing import NotHttp, Reason

HERE = Path(__file__).parent
REWRITE = "It is written by `scripts/docs --write`; whoever changes it by hand is told by a test."

COMMANDS = """\
# Commands

Every command of `llamagate`, as `--help` tells it too. One that takes `--config` reads the file that the gate reads;
with `--json` it prints for programs. It ends with 2 where the command line makes no sense, and with 1 where something
else did not come to pass; `doctor` ends as its findings say.
"""
ERRORS = """\
# Error codes

Whoever is refused is told in the dialect of the route that was asked, so that clients show it as they do errors of
the service that they were made for.
"""
IN_THE_LEDGER = """\
The ledger has the code as the reason of the call (`llamagate calls`), or something more exact. After the first byte of
an answer no status can be told any more: the stream ends with the error as its last words, and without a proper end.
At `/v1/responses` the end is a proper one where Ollama has sent `response.failed` itself.

What the caller can repair, or the owner has decided, is a 4xx; what the model server or the gate has failed at is a
5xx. Whatever comes with `Retry-After` may be tried again.
"""
BEHIND_401 = """\
## Behind a 401

To the caller every 401 is the same, so that nobody learns which keys there are; only a placeholder is called one. The
owner finds the reason in the ledger, in the log and in `llamagate auth status`.
"""
NO_HTTP = """\
## What is no HTTP

Bytes that could be read in two ways are refused before anybody is asked for a key. They have no line in the ledger;
`llamagate_connections_refused_total` counts them by reason. Nearly always it is a proxy that changes requests, or a
program that writes them by hand.
"""

Row = Sequence[str]

BODIES: list[Row] = [
    (
        "`/v1/…`",
        '`{"error": {"message": …, "type": …, "param": …, "code": "model_not_found"}}`',
        "`error.code`",
    ),
    ("`/api/…`", '`{"error": "There is no such model for this key."}`', "the status and the words tell"),
    (
        "`/v1/messages`",
        '`{"type": "error", "error": {"type": "not_found_error", "message": …}, "request_id": …}`',
        "the status and the words tell",
    ),
]

TO_DO: dict[str, tuple[str, str]] = {
    "internal_error": ("nobody", "A bug in the gate. The log has `call_crashed` and its traceback: please report it."),
    "refused": ("caller", "The message says what is not taken."),
    "invalid_request": ("caller", "The message says what is wrong in the request, and `param` where that is known."),
    "body_too_large": ("owner", "Send less, or let the owner raise `max_body`."),
    "unsupported_encoding": ("caller", "Send the body as it is, or with `Content-Encoding: zstd`."),
    "body_too_slow": ("caller", "A slow line, or a proxy that holds bodies back: `body_timeout`, `door.body_rate`."),
    "knob_refused": (
        "owner",
        "Leave out the member that the message names, or let the plan's `knobs` allow, drop or bound it.",
    ),
    "tokens_exceed_limit": (
        "caller",
        "Ask for a shorter answer (`max_tokens`) or send less: waiting does not help. Else `token_burst` is too small.",
    ),
    "prompt_exceeds_limit": ("caller", "Send less: the prompt alone is more than the limits ever allow at once."),
    "two_credentials": ("caller", "A client sends a key in two places, such as the URL and a header. Take one away."),
    "invalid_api_key": ("caller", "Look up the reason in the ledger (`llamagate calls`) and in the table below."),
    "forbidden": (
        "owner",
        "The route's class is not among the `grants` of the key's plan, or a pull is outside of its `pull`.",
    ),
    "pull_too_large": ("owner", "Pull a smaller variant, or raise `pull.max_size` in the plan."),
    "no_such_route": (
        "caller",
        "Often a base URL with `/v1` too many or too few: see [clients](clients.md). The gate forwards what its table "
        "has and nothing else.",
    ),
    "wrong_method": ("caller", "The header `Allow` says which methods this route takes."),
    "model_not_found": (
        "owner",
        "The model is not installed, or the plan or the key does not cover it: `llamagate keys show ID`, and "
        "`ollama ls` on the box. Callers cannot tell the two apart.",
    ),
    "rate_limit_exceeded": (
        "caller",
        "Wait as long as `Retry-After` says. `llamagate limits show USER` tells the owner which limit it was.",
    ),
    "too_many_failures": (
        "caller",
        "A program at this address has gone on without a valid key. Repair that, and wait a minute; "
        "`failed_attempts_per_minute` says how many there may be.",
    ),
    "backend_failed": ("owner", "The answer made no sense. The log has the reason; is it an Ollama at `upstream`?"),
    "backend_refused": ("caller", "Ollama's own refusal, in its own words."),
    "model_server_busy": (
        "owner",
        "Ollama's queue is full: fewer calls at once (`concurrent` under `[limits]`), or a larger `OLLAMA_MAX_QUEUE`.",
    ),
    "backend_down": ("owner", "Start Ollama, or correct `upstream`. The gate forwards again as soon as it answers."),
    "backend_silent": (
        "owner",
        "A large model on a cold start, or Ollama hangs: `first_byte_timeout`, `idle_timeout`, and Ollama's own log.",
    ),
    "backend_broke_off": ("caller", "Ask again. Ollama ended or crashed in the middle: its log says why."),
    "truncated": ("caller", "Ask again. What came is not the whole answer, whatever it looks like."),
    "client_left": ("nobody", "Nobody is left to be told. Many: a client's timeout is shorter than a cold start."),
    "client_stalled": ("nobody", "The client was connected and read nothing for `stall_timeout`."),
    "auth_unavailable": ("owner", "The database or an issuer of tokens cannot be reached. `llamagate auth status`."),
    "storage_failed": (
        "owner",
        "The database cannot be reached: its disk, its server, `database_url`. The log has why.",
    ),
    "ledger_full": (
        "owner",
        "The database is away for too long, or the disk is full: `llamagate ledger status`, `ledger.spool`.",
    ),
    "gate_died": ("nobody", "Stands in the ledger alone, for calls under which a gate was killed."),
    "gate_stopping": ("caller", "Ask again: another gate takes over, or this one is started anew."),
    "limits_unavailable": ("owner", "The Redis is away and `on_redis_failure` is `refuse`. `llamagate limits status`."),
    "too_many_connections": (
        "owner",
        "`door.connections` or `door.connections_per_address` is reached: a proxy that is missing from "
        "`trusted_proxies`, a client that never closes, or too few open files.",
    ),
}
"""Of each code, who has to act and what helps."""

WHY: dict[Why, str] = {
    Why.NOTHING: "No key came at all. The client does not send it: see [clients](clients.md).",
    Why.PLACEHOLDER: "The client sent a word such as `ollama` or `none`: its key was never set.",
    Why.MALFORMED: "What came has not the form of a key, a token or a signature: it was cut off, or quoted twice.",
    Why.UNKNOWN: "No such key, or another secret than the one on record; also with another pepper or another database.",
    Why.EXPIRED: "Its time is over: `llamagate keys update ID --expires 30d`.",
    Why.REVOKED: "Revoked for good: issue another key.",
    Why.SUSPENDED: "`llamagate keys resume ID`, or `identities resume` and `certificates resume`.",
    Why.USER_SUSPENDED: "`llamagate users resume USER`.",
    Why.TEAM_SUSPENDED: "`llamagate teams resume TEAM`.",
    Why.DENIED: "On the list of `llamagate tokens denied`.",
    Why.NOT_YET: "The token begins later: the issuer's clock or the gate's is wrong (`leeway`).",
    Why.TOO_LONG: "The token lives longer than the issuer's `max_lifetime`.",
    Why.WRONG_ISSUER: "No issuer in the configuration has this `iss` as its `url`, to the letter.",
    Why.WRONG_AUDIENCE: "`aud` names none of the issuer's `audience`.",
    Why.WRONG_ALGORITHM: "Signed in another way than the issuer's `algorithms` allow.",
    Why.WRONG_TYPE: "`typ` in its header is none of the issuer's `types`: often an ID token, not an access token.",
    Why.WRONG_KEY: "Signed with a key that the issuer does not publish, or not yet: see `refresh`.",
    Why.WRONG_CLAIMS: "A claim is missing or is not what `require` says: `llamagate tokens explain` says which.",
    Why.WRONG_SIGNATURE: "Something changed on the way (the path of a signed request), or another key has signed.",
    Why.TOO_OLD: "A signed request from another time: compare `date -u` on both machines.",
    Why.REPLAYED: "The same signed request twice: see [Ollama's identity](ollama-identity.md).",
}
"""Of each reason why a proof was refused, what it means to the owner."""


def cell(text: str) -> str:
    """Text as it may stand in a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def table(head: Row, rows: Sequence[Row]) -> str:
    """A table in Markdown, with its line end."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell(one) for one in line)} |\n" for line in lines)


def commands() -> str:
    """The page of every command, its arguments and its options, in the order of the app."""
    group = typer.main.get_command(app.cli())
    return f"{COMMANDS}\n{REWRITE}\n\n" + "\n".join(_command(group, [], None))


def _command(command: Any, names: list[str], above: Any) -> Iterator[str]:
    context = command.context_class(command, info_name=names[-1] if names else "llamagate", parent=above)
    within = list(command.list_commands(context)) if hasattr(command, "list_commands") else []
    parameters = [one for one in command.params if one.name != "help"]
    arguments = [one for one in parameters if one.param_type_name == "argument"]
    options = [one for one in parameters if one.param_type_name == "option"]
    words = ["llamagate", *names, *(_argument(one) for one in arguments), *(["[OPTIONS]"] if options else [])]
    depth = "#" * (min(len(names), 2) + 1)
    if names:
        yield f"{depth} `{' '.join(['llamagate', *names])}`\n"
        yield f"{inspect.cleandoc(command.help or '')}\n"
        if arguments or options or not within:
            yield f"```text\n{' '.join(words)}\n```\n"
    if arguments:
        yield table(("argument", "meaning"), [(f"`{_argument(one)}`", one.help or "") for one in arguments])
    if options:
        yield table(("option", "meaning"), [(f"`{_option(one)}`", _meaning(one)) for one in options])
    for name in within:
        yield from _command(command.get_command(context, name), [*names, name], context)


def _argument(one: Any) -> str:
    name = str(one.metavar or one.name.upper())
    return name if one.required else f"[{name}]"


def _option(one: Any) -> str:
    names = ", ".join([*one.opts, *one.secondary_opts])
    choices = "|".join(type(one.default)) if isinstance(one.default, enum.Enum) else ""
    return " ".join(filter(None, (names, one.metavar or choices)))


def _meaning(one: Any) -> str:
    told = f"{one.help or ''}{f' Or in `{one.envvar}`.' if one.envvar else ''}"
    if one.required:
        return f"{told} Needed."
    if one.default in (None, False) or callable(one.default) or "[default:" in told:
        return told
    return f"{told} Default: `{one.default}`."


def kinds() -> list[type[GateError]]:
    """Every kind of error that a call can end with and that has a code of its own, in the order of the file."""
    here = [one for one in vars(errors).values() if inspect.isclass(one) and issubclass(one, GateError)]
    found: dict[str, type[GateError]] = {}
    every: list[type[GateError]] = [*here, TooManyConnections]
    for one in every:
        if not issubclass(one, Misconfigured):
            found.setdefault(one.code, one)
    return list(found.values())


def error_codes() -> str:
    """The page of every code, and of what stands behind those that tell a caller little."""
    codes = [(f"`{one.code}`", _status(one), TO_DO[one.code][0], _words(one), TO_DO[one.code][1]) for one in kinds()]
    why = [(f"`{Unauthenticated.code}.{one}`", WHY[one]) for one in Why]
    framing = [(f"`{why}`", str(one.status), f"`{one.code}`", one.message) for why in Reason for one in [NotHttp(why)]]
    parts = [
        ERRORS,
        table(("asked at", "the body", "where the code is"), BODIES),
        IN_THE_LEDGER,
        f"{REWRITE}\n",
        "## By code\n",
        table(("code", "status", "who acts", "what the caller reads", "what helps"), codes),
        BEHIND_401,
        table(("reason", "what it means"), why),
        NO_HTTP,
        table(("reason", "status", "code", "what the caller reads"), framing),
    ]
    return "\n".join(parts)


def _status(kind: type[GateError]) -> str:
    if issubclass(kind, ClientGone | Died):
        return "none"
    if kind is BackendRefused:
        return "Ollama's own"
    return str(ModelServerBusy().status if kind is ModelServerBusy else kind.status)


def _words(kind: type[GateError]) -> str:
    if kind in (Refused, BackendRefused):
        return "(what it is about)"
    return TooManyFailures(wait=0).message if kind is TooManyFailures else kind.default


PAGES: dict[str, Callable[[], str]] = {"commands.md": commands, "errors.md": error_codes}


def stale(folder: Path = HERE) -> list[str]:
    """The names of the pages in a folder that are not what they would be if they were written now."""
    told = {name: (folder / name).read_text() if (folder / name).is_file() else "" for name in PAGES}
    return [name for name, page in PAGES.items() if told[name] != page()]


def main(words: Sequence[str], folder: Path = HERE) -> int:
    """The exit status: 1 where ``--check`` finds pages that are out of step, 2 where the words make no sense."""
    if list(words) not in ([], ["--check"]):
        sys.stderr.write("It takes --check and nothing else.\n")
        return 2
    found = stale(folder)
    for name in found:
        if words:
            sys.stderr.write(f"{folder / name} is not what the code says: scripts/docs --write\n")
        else:
            (folder / name).write_text(PAGES[name]())
            sys.stdout.write(f"{folder / name} is written.\n")
    return int(bool(words and found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
