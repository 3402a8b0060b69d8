from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from proxy.config.issuers import IssuerSettings, checked_secret
from proxy.config.load import Loaded, Mistakes, effective, load
from proxy.vocabulary import Issuer

PLAIN = {"url": "https://sso.example.org/realms/main", "audience": "llamagate"}
SECRET = "9f2c7be1a04d5836c1e09b7f4a62d85e"


def told(**more: Any) -> IssuerSettings:
    return IssuerSettings.model_validate({**PLAIN, **more})


def loaded(text: str, environment: dict[str, str] | None = None) -> Loaded:
    return load(text=text, file="gate.toml", environment=environment or {}, flags={}, read_secret=lambda _: "")


def mistakes(text: str) -> list[str]:
    with pytest.raises(Mistakes) as raised:
        loaded(text)
    return [str(one) for one in raised.value.mistakes]


def test_told_only_who_it_is_and_for_whom_its_tokens_are_the_rest_is_strict() -> None:
    expected = Issuer(
        name="sso",
        url="https://sso.example.org/realms/main",
        audiences=("llamagate",),
        algorithms=("RS256",),
        user_prefix="sso:",
        plan=None,
        max_lifetime=86_400.0,
        leeway=10.0,
    )

    assert expected == told().issuer("sso")


def test_everything_that_is_told_is_handed_over() -> None:
    issuer = told(
        audience=["a", "b"],
        algorithms="RS256, ES256",
        jwks_url="https://sso.example.org/keys",
        types=["at+jwt"],
        user_claim="email",
        user_prefix="",
        team_claim="department",
        groups_claim="realm_access.roles",
        groups={"ml-team": "lab", "staff": "default"},
        teams={"ml-team": "ml"},
        plan="default",
        max_lifetime="1h",
        leeway="5s",
        refresh="5m",
        max_stale="2h",
    ).issuer("sso")

    assert (("a", "b"), ("RS256", "ES256")) == (issuer.audiences, issuer.algorithms)
    assert ("https://sso.example.org/keys", ("at+jwt",)) == (issuer.jwks_url, issuer.types)
    assert ("email", "", "department") == (issuer.user_claim, issuer.user_prefix, issuer.team_claim)
    assert (("ml-team", "lab"), ("staff", "default")) == issuer.groups
    assert ("realm_access.roles", (("ml-team", "ml"),), "default") == (issuer.groups_claim, issuer.teams, issuer.plan)
    assert (3600.0, 5.0, 300.0, 7200.0) == (issuer.max_lifetime, issuer.leeway, issuer.refresh, issuer.max_stale)


@pytest.mark.parametrize(
    "more",
    [
        {"url": ""},
        {"url": "sso.example.org"},
        {"url": "ftp://sso.example.org"},
        {"url": "file:///etc/passwd"},
        {"url": "https://"},
        {"url": "https://user:word@sso.example.org"},
        {"url": "https://sso.example.org/#here"},
        {"url": "https://sso.example.org:99999"},
        {"url": "https://sso.example.org/a b"},
        {"url": "https://sso.example.org/\n"},
        {"url": "http://sso.example.org"},
        {"jwks_url": "http://sso.example.org/keys"},
        {"jwks_url": "file:///etc/passwd"},
        {"audience": []},
        {"audience": ["", "a"]},
        {"algorithms": []},
        {"algorithms": "none"},
        {"algorithms": "rs256"},
        {"algorithms": "RS256,HS256"},
        {"algorithms": "HS256"},
        {"secret": SECRET},
        {"algorithms": "HS256", "secret": SECRET[:-1]},
        {"algorithms": "HS384", "secret": SECRET},
        {"algorithms": "HS256", "secret": "changeme" * 8},
        {"algorithms": "HS256", "secret": "a" * 64},
        {"algorithms": "HS256", "secret": SECRET, "jwks_url": "https://sso.example.org/keys"},
        {"jwks_url": "https://sso.example.org/keys", "key_file": "/key.pem"},
        {"types": []},
        {"user_claim": ""},
        {"groups": "ml-team"},
        {"groups": "=lab"},
        {"groups": ["ml-team"]},
        {"groups": {f"group{number}": "lab" for number in range(1001)}},
        {"require": "hd"},
        {"require": ["hd"]},
        {"require": {"": "example.org"}},
        {"require": {"hd": ""}},
        {"require": {"hd": []}},
        {"require": {"hd": ["example.org", ""]}},
        {"require": {"hd": 7}},
        {"require": {"hd": {"example.org": True}}},
        {"max_lifetime": "0s"},
        {"max_lifetime": "400d"},
        {"leeway": "301s"},
        {"refresh": "29s"},
        {"max_stale": "59s"},
        {"max_stale": "31d"},
        {"nonsense": 1},
    ],
)
def test_what_makes_no_sense_or_is_not_safe_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as raised:
        told(**more)

    assert SECRET[:-1] not in str(raised.value)


@pytest.mark.parametrize(
    "more",
    [
        {"url": "http://127.0.0.1:8080"},
        {"url": "http://localhost:8080", "jwks_url": "http://[::1]:8080/keys"},
        {"url": "http://sso.lan", "insecure": True},
        {"url": "http://sso.lan", "key_file": "/key.pem"},
        {"url": "http://sso.lan", "jwks_url": "https://sso.lan/keys"},
        {"jwks_url": "http://sso.lan/keys", "insecure": True},
        {"algorithms": "HS256", "secret": SECRET},
        {"algorithms": "HS512", "secret_file": "/run/secrets/sso"},
    ],
)
def test_keys_come_by_a_safe_way_or_by_one_that_the_owner_calls_safe(more: dict[str, Any]) -> None:
    assert told(**more).issuer("sso").name == "sso"


def test_what_stands_in_files_is_handed_over_and_no_secret_shows() -> None:
    shared = told(algorithms="HS256", secret=SecretStr(SECRET))
    by_file = told(algorithms="HS256", secret_file="/run/secrets/sso").issuer("sso", secret=SECRET.encode())

    assert SECRET.encode() == shared.issuer("sso").secret == by_file.secret
    assert "PEM" == told(key_file=Path("/key.pem")).issuer("sso", pem="PEM").pem
    assert SECRET not in repr(shared) + repr(shared.issuer("sso")) + repr(by_file)


def test_a_secret_is_counted_in_bytes_as_its_algorithm_wants() -> None:
    assert SECRET.encode() == checked_secret(SECRET, ("HS256",))
    with pytest.raises(ValueError, match="needs at least 64"):
        checked_secret(SECRET, ("HS256", "HS512"))


def test_issuers_stand_in_the_file_and_in_the_environment() -> None:
    text = '[issuers.sso]\nurl = "https://a.example"\naudience = "x"\ngroups = { "ml team" = "default" }'
    environment = {
        "LLAMAGATE_ISSUERS__CI__URL": "https://token.actions.githubusercontent.com",
        "LLAMAGATE_ISSUERS__CI__AUDIENCE": "a, b",
        "LLAMAGATE_ISSUERS__CI__GROUPS": "a=default, b = default",
        "LLAMAGATE_ISSUERS__HS__URL": "https://hs.example",
        "LLAMAGATE_ISSUERS__HS__AUDIENCE": "a",
        "LLAMAGATE_ISSUERS__HS__ALGORITHMS": "HS256",
        "LLAMAGATE_ISSUERS__HS__SECRET": SECRET,
    }
    told = loaded(text, environment)
    shown = {key: value for key, value, _ in effective(told)}

    assert {"sso", "ci", "hs"} == told.settings.issuers.keys()
    assert "ml team=default" == shown["issuers.sso.groups"]
    assert ("a, b", "a=default, b=default") == (shown["issuers.ci.audience"], shown["issuers.ci.groups"])
    assert "********" == shown["issuers.hs.secret"]
    assert ("gate.toml", "environment LLAMAGATE_ISSUERS__HS__SECRET") == (
        told.origins["issuers.sso.url"],
        told.origins["issuers.hs.secret"],
    )


def test_what_is_required_may_be_one_value_or_several_and_is_shown_as_a_variable_has_it() -> None:
    require = 'require = { "hd" = "a.example", "email_verified" = true, "repository" = ["x/a", "x/b"] }'
    text = f'[issuers.sso]\nurl = "https://a.example"\naudience = "x"\n{require}'
    environment = {
        "LLAMAGATE_ISSUERS__CI__URL": "https://b.example",
        "LLAMAGATE_ISSUERS__CI__AUDIENCE": "x",
        "LLAMAGATE_ISSUERS__CI__REQUIRE": "repository=x/a, owner = 7, repository=x/b",
    }
    told = loaded(text, environment)
    shown = {key: value for key, value, _ in effective(told)}

    assert (("hd", ("a.example",)), ("email_verified", ("true",)), ("repository", ("x/a", "x/b"))) == (
        told.settings.issuers["sso"].issuer("sso").require
    )
    assert (("repository", ("x/a", "x/b")), ("owner", ("7",))) == told.settings.issuers["ci"].issuer("ci").require
    assert "hd=a.example, email_verified=true, repository=x/a, repository=x/b" == shown["issuers.sso.require"]


def test_every_mistake_is_told_with_its_cure() -> None:
    assert mistakes('[issuers.sso]\nurl = "http://a.example"') == [
        'gate.toml: issuers.sso.audience: is not told, and has to be (for instance ["llamagate"])',
    ]
    assert mistakes('[issuers.SSO]\nurl = "https://a.example"\naudience = "x"') == [
        "gate.toml: issuers.SSO: is not a name for an issuer"
        " (small letters and digits, with single - or _ between them, such as lab-2)",
    ]
    assert mistakes('[issuers.a]\nurl = "http://a.example"\naudience = "x"') == [
        "gate.toml: issuers.a: is found by plain HTTP on another machine, where anybody on the way could put in other"
        " keys (https://, or insecure = true for this issuer if nobody else can reach the wire)",
    ]
    assert mistakes('[issuers.a]\nurl = "https://a.example"\naudience = "x"\nplan = "vip"') == [
        "gate.toml: issuers: has 'vip' as a plan of a, and there are default"
        " (a plan that is described under [plans], or default)",
    ]
    twice = '[issuers.{}]\nurl = "https://a.example"\naudience = "x"\n'
    assert mistakes(twice.format("a") + twice.format("b"))[0].startswith(
        "gate.toml: issuers: has https://a.example twice"
    )


@pytest.mark.parametrize("name", ["key_file", "secret_file"])
@pytest.mark.parametrize("path", ["", "a\0b", "~nobody-of-here/sso.pem"])
def test_the_file_of_a_key_has_the_path_of_a_file(name: str, path: str) -> None:
    with pytest.raises(ValidationError, match=r"is not the path of a file|begins with a home"):
        told(**{name: path})


def test_a_group_that_a_variable_names_twice_has_no_plan_by_chance() -> None:
    """As in a file, where TOML takes no key twice: else the last one counted, and the docs say the first."""
    with pytest.raises(ValidationError, match="has 'staff' twice"):
        told(groups="staff=default, ml-team=lab, staff=admin")


@pytest.mark.parametrize("name", ["require", "groups", "teams"])
@pytest.mark.parametrize("said", ["", " "])
def test_an_empty_variable_does_not_undo_what_the_file_says(name: str, said: str) -> None:
    """As a compose file has it for one that nobody has set: every token of the issuer would be let in."""
    text = '[issuers.sso]\nurl = "https://sso.example.org"\naudience = "llamagate"\nrequire = { hd = "example.org" }'
    with pytest.raises(Mistakes) as raised:
        loaded(text, {f"LLAMAGATE_ISSUERS__SSO__{name.upper()}": said})

    assert "should be pairs such as ml-team=lab" in str(raised.value)
