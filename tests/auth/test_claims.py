from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.claims import Claims, claims_of, key_id_of
from proxy.errors import Unauthenticated, Why
from proxy.vocabulary import Issuer

NOW = 1_772_366_400.0
IAT, EXP = 1_772_366_300, 1_772_370_000
PAYLOAD = {"sub": "00u1", "iat": IAT, "exp": EXP}


def told(payload: dict[str, Any] | None = None, now: float = NOW, **of_issuer: Any) -> Claims:
    issuer = Issuer("sso", "https://id.example", ("llamagate",), **of_issuer)
    return claims_of({**PAYLOAD, **(payload or {})}, issuer, "mark", now)


def why(payload: dict[str, Any], now: float = NOW, **of_issuer: Any) -> Why:
    with pytest.raises(Unauthenticated) as raised:
        told(payload, now, **of_issuer)
    return raised.value.why


def test_a_plain_token_says_a_user_and_no_plan() -> None:
    expected = Claims("sso", "00u1", None, None, "00u1", None, 1_772_370_000, "mark", key_id_of("sso", "00u1"))

    assert expected == told()


@pytest.mark.parametrize(
    ("claim", "prefix", "value", "user"),
    [
        ("email", "", "alice@example.org", "alice@example.org"),
        ("email", "sso:", "alice@example.org", "sso:alice@example.org"),
        ("uid", "sso:", 4711, "sso:4711"),
        ("uid", "", 0, "0"),
        ("name", "", "Zo\u00eb Doe", "Zo\u00eb Doe"),
        ("name", "", "Zoe\u0308 Doe", "Zo\u00eb Doe"),
        ("name", "", "a" * 128, "a" * 128),
    ],
)
def test_the_user_is_what_the_claim_says_behind_the_prefix(claim: str, prefix: str, value: object, user: str) -> None:
    assert user == told({claim: value}, user_claim=claim, user_prefix=prefix).user


@pytest.mark.parametrize(
    "value", [None, True, 1.5, "", " ", "alice ", "a\nb", "a\x00", "a\u202e", "a" * 129, ["alice"], {"a": 1}]
)
def test_what_is_no_name_is_no_user_and_no_team(value: object) -> None:
    assert Why.WRONG_CLAIMS == why({"email": value}, user_claim="email")
    assert Why.WRONG_CLAIMS == why({"dept": value}, team_claim="dept")


def test_a_user_without_the_claim_is_refused_and_a_team_is_none() -> None:
    assert Why.WRONG_CLAIMS == why({}, user_claim="email")
    assert told({}, team_claim="dept").team is None


def test_a_name_has_to_be_short_with_its_prefix() -> None:
    assert Why.WRONG_CLAIMS == why({"email": "a" * 125}, user_claim="email", user_prefix="sso:")


GROUPS = (("admins", "owner"), ("ml-team", "lab"), ("staff", "default"))


@pytest.mark.parametrize(
    ("groups", "plan"),
    [
        (["staff", "ml-team"], "lab"),
        (["ml-team", "staff"], "lab"),
        (["staff"], "default"),
        ("staff ml-team", "lab"),
        ("  staff  ", "default"),
        ("ML-TEAM", "guest"),
        (["ml"], "guest"),
        (["ml-team "], "guest"),
        ([], "guest"),
        ("", "guest"),
    ],
)
def test_the_plan_is_that_of_the_first_group_in_the_configuration(groups: object, plan: str) -> None:
    assert plan == told({"groups": groups}, groups=GROUPS, plan="guest").plan


def test_whom_no_group_has_a_plan_for_has_none_unless_the_issuer_has() -> None:
    assert told({"groups": ["x"]}, groups=GROUPS).plan is None
    assert told({}, groups=GROUPS).plan is None
    assert "guest" == told({}, groups=GROUPS, plan="guest").plan


def test_the_team_is_that_of_a_group_and_else_what_the_claim_says() -> None:
    rows: dict[str, Any] = {"teams": (("b", "second"), ("a", "first")), "team_claim": "dept"}

    assert "second" == told({"groups": ["a", "b"], "dept": "lab"}, **rows).team
    assert "lab" == told({"groups": ["x"], "dept": "lab"}, **rows).team
    assert "17" == told({"dept": 17}, **rows).team
    assert told({}, **rows).team is None


@pytest.mark.parametrize(
    ("claim", "payload", "plan"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["ml-team"]}}, "lab"),
        ("resource_access.gate.roles", {"resource_access": {"gate": {"roles": ["ml-team"]}}}, "lab"),
        ("https://example.org/groups", {"https://example.org/groups": ["ml-team"]}, "lab"),
        ("a.b", {"a.b": ["ml-team"], "a": {"b": ["staff"]}}, "lab"),
        ("a.b", {"a": {}}, None),
        ("a.b", {}, None),
        ("https://example.org/groups", {}, None),
        ("a..b", {"a": {"": {"b": "ml-team"}}}, "lab"),
    ],
)
def test_groups_may_be_deeper_but_a_claim_of_the_whole_name_goes_first(
    claim: str, payload: dict[str, Any], plan: str | None
) -> None:
    assert plan == told(payload, groups=GROUPS, groups_claim=claim).plan


NO_GROUPS: list[Any] = [None, 1, True, {}, [1], [["ml-team"]], ["ml-team", None], [{"name": "ml-team"}]]


@pytest.mark.parametrize(
    "payload", [{"a": {"b": value}} for value in NO_GROUPS] + [{"a": value} for value in (None, 1, "b", ["b"])]
)
def test_groups_that_are_no_groups_are_refused(payload: dict[str, Any]) -> None:
    assert Why.WRONG_CLAIMS == why(payload, groups=GROUPS, groups_claim="a.b")


def test_groups_that_nobody_asks_for_may_be_anything() -> None:
    assert "00u1" == told({"groups": 17}).user


@pytest.mark.parametrize(
    ("payload", "now", "reason"),
    [
        ({}, EXP + 10, Why.EXPIRED),
        ({}, IAT - 10.5, Why.NOT_YET),
        ({"nbf": IAT + 500}, IAT + 489.5, Why.NOT_YET),
        ({"iat": EXP}, EXP, Why.WRONG_CLAIMS),
        ({"exp": IAT + 86_401}, NOW, Why.TOO_LONG),
        ({"nbf": None}, NOW, Why.WRONG_CLAIMS),
        ({"exp": True}, NOW, Why.WRONG_CLAIMS),
        ({"exp": 253_402_300_800}, NOW, Why.WRONG_CLAIMS),
    ],
)
def test_times_that_are_not_sound_are_refused(payload: dict[str, Any], now: float, reason: Why) -> None:
    assert reason == why(payload, now)


@pytest.mark.parametrize("claim", PAYLOAD)
def test_what_a_token_must_say_is_missed_here_too(claim: str) -> None:
    payload = {name: value for name, value in PAYLOAD.items() if name != claim}
    with pytest.raises(Unauthenticated) as raised:
        claims_of(payload, Issuer("sso", "https://id.example", ("llamagate",)), "mark", NOW)

    assert Why.WRONG_CLAIMS == raised.value.why


@pytest.mark.parametrize(
    ("payload", "now"),
    [
        ({}, EXP + 9.5),
        ({}, IAT - 10),
        ({"nbf": IAT + 500}, IAT + 490),
        ({"exp": IAT + 86_400}, NOW),
        ({"nbf": 0}, NOW),
    ],
)
def test_clocks_may_differ_by_the_leeway_and_no_more(payload: dict[str, Any], now: float) -> None:
    assert "00u1" == told(payload, now).user


def test_without_leeway_a_token_lives_to_the_second() -> None:
    assert "00u1" == told({}, EXP - 0.001, leeway=0.0).user
    assert Why.EXPIRED == why({}, EXP, leeway=0.0)


def test_a_subject_has_the_same_id_for_ever_and_no_other_subject_has_it() -> None:
    assert "jwt-WvYXktYd1zYn" == key_id_of("sso", "00u1")
    assert 4 == len({key_id_of(issuer, sub) for issuer in ("sso", "ssO") for sub in ("00u1", "00u2")})


def test_the_id_is_of_the_issuer_and_the_subject_whatever_the_user_is_called() -> None:
    assert told().key_id == told({"email": "a@b"}, user_claim="email", user_prefix="x:").key_id


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["sub", "exp", "iat", "nbf", "jti", "a", "dept", "a.b"]), ANY_JSON))
def test_no_claims_make_anything_but_claims_or_a_refusal(payload: dict[str, Any]) -> None:
    found: Claims | Why
    try:
        found = told(payload, groups=GROUPS, groups_claim="a.b", team_claim="dept")
    except Unauthenticated as error:
        found = error.why

    assert isinstance(found, Claims | Why)


@pytest.mark.parametrize(
    ("claim", "values", "said"),
    [
        ("hd", ("example.org",), {"hd": "example.org"}),
        ("hd", ("a.example", "b.example"), {"hd": "b.example"}),
        ("owner_id", ("65",), {"owner_id": 65}),
        ("email_verified", ("true",), {"email_verified": True}),
        ("roles", ("ml",), {"roles": ["staff", "ml"]}),
        ("realm_access.roles", ("ml",), {"realm_access": {"roles": ["ml"]}}),
        ("https://a.example/org", ("7",), {"https://a.example/org": "7"}),
    ],
)
def test_who_says_what_is_required_is_let_in(claim: str, values: tuple[str, ...], said: dict[str, Any]) -> None:
    assert "00u1" == told(said, require=((claim, values),)).user


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"hd": None},
        {"hd": ""},
        {"hd": "EXAMPLE.ORG"},
        {"hd": "example.org "},
        {"hd": "example.org.evil.example"},
        {"hd": "other.example example.org"},
        {"hd": []},
        {"hd": [["example.org"]]},
        {"hd": {"example.org": True}},
        {"HD": "example.org"},
    ],
)
def test_who_does_not_say_exactly_what_is_required_is_refused(said: dict[str, Any]) -> None:
    assert Why.WRONG_CLAIMS == why(said, require=(("hd", ("example.org",)),))


def test_all_that_is_required_has_to_be_said() -> None:
    require = (("hd", ("example.org",)), ("dept", ("ml", "ops")))

    assert Why.WRONG_CLAIMS == why({"hd": "example.org"}, require=require)
    assert Why.WRONG_CLAIMS == why({"hd": "example.org", "dept": "sales"}, require=require)
    assert "00u1" == told({"hd": "example.org", "dept": "ops"}, require=require).user


@pytest.mark.parametrize("verified", [False, None, "false", 1, "yes", ["false"]])
def test_nobody_is_known_by_an_address_that_the_issuer_has_not_verified(verified: object) -> None:
    said = {"email": "alice@example.org", "email_verified": verified}

    assert Why.WRONG_CLAIMS == why(said, user_claim="email")
    assert "00u1" == told(said).user


@pytest.mark.parametrize("verified", [{"email_verified": True}, {"email_verified": "true"}, {}])
def test_an_address_is_taken_that_is_verified_or_of_an_issuer_that_does_not_say(verified: dict[str, Any]) -> None:
    assert "a@example.org" == told({"email": "a@example.org", **verified}, user_claim="email").user
