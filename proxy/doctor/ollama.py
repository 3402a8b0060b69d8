"""The Ollama behind the gate: is it there, who else reaches it, and what does it let them do?"""

from collections.abc import Iterator
from dataclasses import dataclass

from proxy.doctor import holes
from proxy.doctor.findings import Finding, critical, info, ok, warning

LOOPBACK = "OLLAMA_HOST=127.0.0.1:11434"
_ENVIRONMENT = "systemctl edit ollama, with [Service] and Environment={} in it, then systemctl restart ollama"
_MAKE_LOOPBACK = (
    f"{_ENVIRONMENT.format(LOOPBACK)}; in containers publish no port of Ollama (no ports: in the compose file)"
)
_UPDATE = (
    "curl -fsSL https://ollama.com/install.sh | sh, or with compose OLLAMA_IMAGE=ollama/ollama:VERSION in .env "
    "(with amd.yml OLLAMA_ROCM_IMAGE=ollama/ollama:VERSION-rocm) and docker compose up -d"
)


@dataclass(frozen=True, slots=True)
class Ollama:
    """What was found out about it. None stands for what nobody could tell."""

    url: str
    """Where the gate looks for it."""
    failure: str | None = None
    """Why it does not answer; None where it does."""
    version: str | None = None
    is_here: bool = True
    """Whether the gate looks for it on this machine's loopback."""
    asked_at: tuple[str, ...] = ()
    """This machine's own addresses that others could reach, where Ollama's port was asked too."""
    answers_at: tuple[str, ...] = ()
    """Those of them where it answered."""
    foreign_host: int | None = None
    """The status that it answers with to somebody who takes it for another host."""
    foreign_origin: int | None = None
    """The same to a web page that it should not know."""
    cloud_disabled: bool | None = None
    signed_in: bool | None = None
    """Whether it acts for an account at ollama.com."""


def findings(ollama: Ollama, *, wants_cloud: bool) -> Iterator[Finding]:
    """``wants_cloud``: some plan lets its keys use models that run elsewhere."""
    if ollama.failure is not None:
        yield critical(
            "ollama.reachable",
            f"No Ollama answers at {ollama.url}: {ollama.failure}.",
            "Every call that needs a model is refused with backend_down.",
            f'systemctl start ollama, or upstream = "http://HOST:11434" where another one runs; then curl {ollama.url}',
        )
    else:
        yield ok("ollama.reachable", f"Ollama answers at {ollama.url}.")
        yield from _version(ollama)
        yield from _guards(ollama)
        yield from _cloud(ollama, wants_cloud=wants_cloud)
    yield from _exposure(ollama)


def _version(ollama: Ollama) -> Iterator[Finding]:
    version = holes.version_of(ollama.version or "")
    if version is None:
        yield info(
            "ollama.version",
            "Ollama does not tell a version that anybody published.",
            "Whether it has known holes cannot be told.",
        )
        return
    found = tuple(holes.open_in(version))
    if found:
        newest = max(filter(None, (holes.version_of(hole.closed_in or "") for hole in found)))
        listed = "; ".join(f"{hole.cve} ({hole.allows}; closed in {hole.closed_in})" for hole in found)
        yield critical(
            "ollama.version",
            f"Ollama {ollama.version} has known holes: {listed}.",
            "The gate keeps the routes from ordinary keys, but not from who reaches Ollama around it, nor from plans "
            "that grant manage.",
            f"Update to {'.'.join(map(str, newest[:3]))} or newer: {_UPDATE}",
        )
    else:
        yield ok("ollama.version", f"Ollama {ollama.version} has no hole that a newer version is known to close.")
    left = "; ".join(f"{hole.cve} ({hole.allows})" for hole in holes.never_closed())
    yield info(
        "ollama.holes",
        f"Of these no version is known that closes them: {left}.",
        "All need /api/pull, which the gate forwards only for plans that grant manage.",
        "Leave manage out of the grants of every plan but the owner's, and say [plans.NAME.pull] registries there.",
    )


def _guards(ollama: Ollama) -> Iterator[Finding]:
    if ollama.foreign_host is not None:
        if ollama.foreign_host == 403:
            yield ok("ollama.host", "Ollama refuses whoever takes it for another host.")
        elif ollama.is_here:
            yield warning(
                "ollama.host",
                "Ollama answers whoever takes it for another host: it does not look at Host.",
                "A web page can reach it by DNS rebinding, from a browser on this machine. Ollama looks at Host only "
                "where it listens on loopback, and since 0.1.29.",
                _MAKE_LOOPBACK,
            )
        else:
            yield info(
                "ollama.host",
                "Ollama answers whoever takes it for another host, as it does wherever it does not listen on loopback.",
                "Only the network keeps others away from it.",
            )
    if ollama.foreign_origin is not None:
        if ollama.foreign_origin == 403:
            yield ok("ollama.origin", "Ollama refuses web pages that it does not know.")
        else:
            yield warning(
                "ollama.origin",
                "Ollama answers every web page.",
                "Whatever page is open in a browser that reaches Ollama can use and delete its models, around the "
                "gate. The gate itself sends no Origin.",
                _ENVIRONMENT.format("OLLAMA_ORIGINS=") + "; the pages that may ask the gate belong into cors_origins",
            )


def _cloud(ollama: Ollama, *, wants_cloud: bool) -> Iterator[Finding]:
    if ollama.cloud_disabled:
        yield ok("ollama.cloud", "Ollama's cloud is off.")
        return
    if ollama.cloud_disabled is None and ollama.signed_in is None:
        yield info("ollama.cloud", "This Ollama does not tell whether its cloud is on.")
        return
    off = _ENVIRONMENT.format("OLLAMA_NO_CLOUD=1")
    if not ollama.signed_in:
        yield info(
            "ollama.cloud",
            "Ollama's cloud is on, and nobody is signed in.",
            "Whoever may sign in makes the prompts of cloud models leave this machine.",
            off,
        )
    elif wants_cloud:
        yield info(
            "ollama.cloud",
            "Ollama is signed in at ollama.com, and a plan lets its keys use that.",
            "Prompts to cloud models leave this machine, and are charged to that account.",
        )
    else:
        yield warning(
            "ollama.cloud",
            "Ollama is signed in at ollama.com, and no plan lets anybody use that.",
            "The gate refuses cloud models; whoever reaches Ollama around it spends the account and sends prompts out.",
            f"ollama signout; and {off}",
        )


def _exposure(ollama: Ollama) -> Iterator[Finding]:
    if ollama.answers_at:
        yield critical(
            "ollama.exposed",
            f"Ollama answers around the gate, at {', '.join(ollama.answers_at)}.",
            "Ollama asks nobody for a key: whoever reaches that address uses, replaces and deletes models, unless a "
            "firewall is in the way, which cannot be seen from here.",
            _MAKE_LOOPBACK,
        )
    elif not ollama.is_here:
        yield info(
            "ollama.exposed",
            f"Ollama is not on this machine's loopback, but at {ollama.url}.",
            "Who else reaches that address cannot be seen from here, and whoever does needs no key.",
            "Let a firewall or a network of its own admit nobody but the gate; from another machine this must fail: "
            f"curl -m 5 {ollama.url}/api/version",
        )
    elif ollama.asked_at:
        yield ok("ollama.exposed", f"Ollama does not answer at {', '.join(ollama.asked_at)}.")
    else:
        yield info("ollama.exposed", "This machine has no address that others could reach Ollama at.")
