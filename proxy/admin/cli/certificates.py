"""``llamagate certificates``: who may come in with a certificate of their own."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from proxy.admin.amounts import NO_LIMITS
from proxy.admin.cli.facts import of_key
from proxy.admin.cli.held import Held
from proxy.admin.cli.options import (
    Burst,
    Concurrent,
    Config,
    Expires,
    GpuPerDay,
    Json,
    Models,
    Note,
    Plan,
    Rpm,
    Team,
    TokensPerDay,
    TokensPerMonth,
    Tpm,
    Whose,
    changes,
    patterns,
)
from proxy.admin.cli.paper import say, say_json, told_plainly
from proxy.admin.cli.tools import Tools, at_desk
from proxy.admin.desk import Desk
from proxy.admin.refusals import NotDone
from proxy.auth.certificates import LONGEST_PEM
from proxy.config.kinds import expanded

CertificateFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="The certificate in PEM, without its private key.")
]


def add(
    ctx: typer.Context,
    file: CertificateFile,
    user: Whose,
    team: Team = None,
    plan: Plan = None,
    models: Models = None,
    expires: Expires = None,
    note: Note = None,
    rpm: Rpm = None,
    burst: Burst = None,
    tpm: Tpm = None,
    concurrent: Concurrent = None,
    tokens_per_day: TokensPerDay = None,
    tokens_per_month: TokensPerMonth = None,
    gpu_seconds_per_day: GpuPerDay = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Let in a client by its certificate, until that ends."""
    tools: Tools = ctx.obj
    only = None if models is None else patterns(models)
    told = changes(rpm, burst, tpm, concurrent, tokens_per_day, tokens_per_month, gpu_seconds_per_day)
    limits = replace(NO_LIMITS, **told)
    with told_plainly():
        settings = tools.load(config, {}).settings
        pem = read(file)
        key = at_desk(
            tools, settings, lambda desk: desk.add_certificate(pem, user, team, plan, only, expires, note, limits)
        )
    if as_json:
        say_json({**of_key(key, tools.now()), "address": settings.address})
        return
    say(f"Certificate {key.id} of {key.user}, plan {key.plan}. Where its private key is:")
    say()
    say(f"curl --cert {shlex.quote(str(file))} --key KEY.pem {settings.address}/v1/models")
    if settings.tls.client_authorities is None:
        say()
        say("The gate asks no client for a certificate yet: name who vouches for them in [tls] client_authorities.")


def read(file: Path) -> str:
    """What the file holds, as far as that can be a certificate. Raises NotDone."""
    try:
        with expanded(file).open(encoding="utf-8", errors="replace") as opened:
            return opened.read(LONGEST_PEM + 1)
    except ValueError as error:
        raise NotDone(f"{file} {error}.") from error
    except OSError as error:
        raise NotDone(f"{file} cannot be read: {error.strerror}.") from error


def meant(text: str) -> str:
    """An id as it is, and of the name of a file what it holds."""
    return text if text.strip().isalnum() else read(Path(text.strip()))


HELD = Held(
    "certificate",
    "There are no certificates yet. The first one: llamagate certificates add --user alice alice.pem",
    Desk.certificates,
    Desk.certificate,
    Desk.update_certificate,
    Desk.suspend_certificate,
    Desk.resume_certificate,
    Desk.revoke_certificate,
    meant,
)
