"""The worked examples of ``docs/signed-tokens.md``: what a token such as the provider issues becomes with the TOML."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from proxy.auth.claims import Claims
from proxy.auth.tokens import Tokens
from proxy.config.load import load
from proxy.errors import Unauthenticated, Why
from proxy.policy.models import canonical_pattern
from proxy.vocabulary import Issuer
from tests.fakes.moments import NOON
from tests.fakes.tokens import Forge

DOCS = (Path(__file__).parents[1] / "docs/signed-tokens.md").read_text()
BLOCK = re.compile(
    r"^```(toml|json)\n(.*?)^```$|^\| user \| team \| plan \|\n[| -]+\n\| ([^\n]*) \|$", re.DOTALL | re.MULTILINE
)
TIMES = ("iat", "nbf", "exp", "auth_time")
AGE_SECONDS = 60
PROVIDERS = {"Keycloak": 2, "Authentik": 1, "Google": 1, "Microsoft Entra ID": 2, "GitHub Actions": 1}


@dataclass(frozen=True, slots=True)
class Example:
    """A token, the configuration that it is shown to, and what the table below it says."""

    provider: str
    issuer: Issuer
    payload: Mapping[str, Any]
    told: tuple[str, ...]
    """The user, the team and the plan."""

    def at_noon(self, **claims: Any) -> bytes:
        """The payload of a token that was issued a minute ago, with other claims; None takes one out."""
        later = int(NOON.timestamp()) - AGE_SECONDS - self.payload["iat"]
        moved = {name: self.payload[name] + later for name in TIMES if name in self.payload}
        changed = {**self.payload, **moved, **claims}
        return json.dumps({name: value for name, value in changed.items() if value is not None}).encode()


def examples() -> Iterator[Example]:
    for section in DOCS.split("\n## ")[1:]:
        provider = section.partition("\n")[0]
        issuer, payload = None, None
        for kind, block, row in BLOCK.findall(section):
            if kind == "toml":
                issuer = configured(block)
            elif kind == "json":
                payload = json.loads(block)
            else:
                assert issuer is not None
                assert payload is not None
                yield Example(provider, issuer, payload, tuple(cell.strip().strip("`") for cell in row.split("|")))


def configured(text: str) -> Issuer:
    loaded = load(
        text=text,
        file="signed-tokens.md",
        environment={},
        flags={},
        read_secret=lambda _: "",
        check_pattern=canonical_pattern,
    )
    ((name, told),) = loaded.settings.issuers.items()
    return told.issuer(name)


EXAMPLES = list(examples())
EACH = pytest.mark.parametrize("example", EXAMPLES, ids=[one.provider for one in EXAMPLES])


async def claimed(issuer: Issuer, payload: bytes) -> Claims:
    """What the gate makes of a token with this payload, signed with a key that is found by discovery."""
    forge = Forge()
    places = {
        f"{issuer.url.removesuffix('/')}/.well-known/openid-configuration": json.dumps(
            {"issuer": issuer.url, "jwks_uri": "https://keys.example/jwks"}
        ).encode(),
        "https://keys.example/jwks": forge.jwks(),
    }

    async def fetch(url: str) -> bytes:
        return places[url]

    tokens = Tokens([issuer], fetch, clock=lambda: 0.0, now=lambda: NOON)
    return await tokens.claims(forge.signed(payload=payload))


async def why(issuer: Issuer, payload: bytes) -> Why:
    with pytest.raises(Unauthenticated) as raised:
        await claimed(issuer, payload)
    return raised.value.why


def test_every_provider_has_its_examples() -> None:
    assert PROVIDERS == {name: sum(one.provider == name for one in EXAMPLES) for name in PROVIDERS}
    assert sum(PROVIDERS.values()) == len(EXAMPLES) == len(re.findall(r"^```json$", DOCS, re.MULTILINE))


@EACH
async def test_the_token_becomes_what_the_table_says(example: Example) -> None:
    claims = await claimed(example.issuer, example.at_noon())

    assert example.told == (claims.user, claims.team or "—", claims.plan)


@EACH
async def test_the_same_token_for_another_audience_is_refused(example: Example) -> None:
    assert Why.WRONG_AUDIENCE == await why(example.issuer, example.at_noon(aud="https://other.example"))


@EACH
async def test_who_is_not_what_is_required_is_refused(example: Example) -> None:
    required = [claim for claim, _ in example.issuer.require]

    assert [Why.WRONG_CLAIMS] * len(required) == [
        await why(example.issuer, example.at_noon(**{claim: None})) for claim in required
    ]
    assert [Why.WRONG_CLAIMS] * len(required) == [
        await why(example.issuer, example.at_noon(**{claim: "another"})) for claim in required
    ]


def test_issuers_that_sign_for_the_whole_world_are_narrowed() -> None:
    narrowed = {one.provider for one in EXAMPLES if one.issuer.require}

    assert {"Google", "GitHub Actions"} <= narrowed


async def test_a_private_account_and_a_strangers_repository_are_refused() -> None:
    google = next(one for one in EXAMPLES if one.provider == "Google")
    github = next(one for one in EXAMPLES if one.provider == "GitHub Actions")
    stranger = {"repository": "acme/webshop", "repository_owner": "acme", "repository_owner_id": "1"}

    assert Why.WRONG_CLAIMS == await why(google.issuer, google.at_noon(hd=None, email="carol@example.org"))
    assert Why.WRONG_CLAIMS == await why(google.issuer, google.at_noon(email_verified=False))
    assert Why.WRONG_CLAIMS == await why(github.issuer, github.at_noon(**stranger))


async def test_an_address_that_is_not_verified_is_no_user() -> None:
    authentik = next(one for one in EXAMPLES if one.provider == "Authentik")

    assert Why.WRONG_CLAIMS == await why(replace(authentik.issuer, user_claim="email"), authentik.at_noon())


async def test_a_repository_with_ids_in_its_subject_is_the_same_user() -> None:
    github = next(one for one in EXAMPLES if one.provider == "GitHub Actions")
    sub = "repo:acme@6154722/webshop@812345678:ref:refs/heads/main"
    claims = await claimed(github.issuer, github.at_noon(sub=sub))

    assert github.told == (claims.user, claims.team, claims.plan)
