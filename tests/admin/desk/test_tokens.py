import pytest

from proxy.admin.refusals import NotDone
from proxy.auth import Act, Denial
from tests.fakes.keys import FakeRegistry
from tests.fakes.tools import NOON, a_desk


async def test_a_token_is_denied_once_and_allowed_again() -> None:
    registry = FakeRegistry()
    here = a_desk(registry, issuers=["keycloak"])
    await here.deny("keycloak", "jti", "t-1", "stolen")
    await here.deny("keycloak", "jti", "t-1")

    assert [Denial("keycloak", "jti", "t-1", NOON, "stolen")] == await here.denials()
    await here.allow("keycloak", "jti", "t-1")
    assert [] == await here.denials()
    assert [
        ("token.deny", "token:keycloak", {"jti": "t-1", "note": "stolen"}),
        ("token.allow", "token:keycloak", {"jti": "t-1"}),
    ] == [(act.name, act.subject, act.details) for act in await registry.acts()]


async def test_what_is_not_denied_cannot_be_allowed() -> None:
    registry = FakeRegistry()
    with pytest.raises(NotDone, match="not on the list"):
        await a_desk(registry).allow("keycloak", "sub", "alice")

    assert [] == await registry.acts()


@pytest.mark.parametrize(
    ("issuers", "why"),
    [
        ((), "There is no issuer 'keycloack'. None is configured."),
        (("google", "keycloak"), "There are: google, keycloak."),
    ],
)
async def test_an_issuer_that_is_not_trusted_cannot_be_meant(issuers: tuple[str, ...], why: str) -> None:
    with pytest.raises(NotDone, match=why):
        await a_desk(issuers=issuers).deny("keycloack", "sub", "alice")


@pytest.mark.parametrize(
    ("claim", "value", "why"),
    [
        ("aud", "x", "by jti or sub"),
        ("sub", "", "The sub has to be 1 to 255"),
        ("jti", "x" * 256, "The jti has to be 1 to 255"),
        ("sub", "a\nb", "can be printed"),
        ("jti", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJIVVNIIn0.HUSH", "a whole token, not its jti"),
    ],
)
async def test_what_cannot_be_denied_is_told_why_and_not_repeated(claim: str, value: str, why: str) -> None:
    here = a_desk(issuers=["keycloak"])
    with pytest.raises(NotDone, match=why) as refused:
        await here.deny("keycloak", claim, value)

    assert "HUSH" not in refused.value.message
    with pytest.raises(NotDone, match=why):
        await here.allow("keycloak", claim, value)


class Strict(FakeRegistry):
    """As a database, it takes nothing that is no text."""

    async def allow(self, issuer: str, claim: str, value: str, act: Act) -> bool:
        issuer.encode()
        return await super().allow(issuer, claim, value, act)


async def test_an_issuer_whose_name_is_no_text_is_not_on_the_list() -> None:
    with pytest.raises(NotDone, match="not on the list"):
        await a_desk(Strict()).allow("\udcff", "sub", "alice")
