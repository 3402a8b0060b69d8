import itertools
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.policy.models import (
    LONGEST,
    SPACE,
    BadName,
    Name,
    both,
    canonical,
    canonical_pattern,
    covered,
    shortest,
)

LLAMA = Name("registry.ollama.ai", "library", "llama3.2", "1b")
MISTRAL = Name("registry.ollama.ai", "library", "mistral", "latest")

SPELLINGS = [
    "llama3.2:1b",
    "LLAMA3.2:1B",
    "library/llama3.2:1b",
    "LIBRARY/Llama3.2:1b",
    "registry.ollama.ai/library/llama3.2:1b",
    "REGISTRY.OLLAMA.AI/LIBRARY/LLAMA3.2:1B",
    "  llama3.2:1b\n",
    "\u3000llama3.2:1b\u2003",
    "llama3.2:1b:local",
    "llama3.2:1b:LOCAL",
    "llama3.2:1b: local",
    "llama3.2:1b:\u00a0Local",
    "Registry.Ollama.AI/Library/LLAMA3.2:1B: LoCaL",
]
SCHEMES = [
    "https://registry.ollama.ai/library/llama3.2:1b",
    "http://registry.ollama.ai/library/llama3.2:1b",
    "ftp://registry.ollama.ai/library/llama3.2:1b",
    "://registry.ollama.ai/library/llama3.2:1b",
    "mistral:latest://registry.ollama.ai/library/llama3.2:1b",
    "any / text \u2603 mistral://registry.ollama.ai/library/llama3.2:1b",
    "https://Registry.Ollama.AI/Library/LLAMA3.2:1B: LoCaL",
]
ANYTHING = st.text(st.characters(exclude_categories=[]))
PIECES = [*"abC1_-.:/ \n", "cloud", "local", "-cloud", ":cloud", ":local", "library/", "://"]
NAME_LIKE = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@pytest.mark.parametrize("text", SPELLINGS)
def test_every_spelling_of_a_model_is_one_name(text: str) -> None:
    assert LLAMA == canonical(text)


@pytest.mark.parametrize("text", SCHEMES)
def test_a_scheme_is_refused_for_anything_could_stand_in_it(text: str) -> None:
    with pytest.raises(BadName):
        canonical(text)


@pytest.mark.parametrize(
    "text",
    ["mistral", "MISTRAL:LATEST", "mistral:local", "mistral: local", "mistral:latest:local", "library/mistral"],
)
def test_a_tag_that_is_left_out_is_latest(text: str) -> None:
    assert MISTRAL == canonical(text)


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("llama3.2:1b:cloud", "1b"),
        ("llama3.2:1b-cloud", "1b"),
        ("llama3.2:1B-CLOUD", "1b"),
        ("llama3.2:cloud", "latest"),
        ("llama3.2: 1b-cloud", "1b"),
        ("llama3.2:1b: Cloud", "1b"),
        ("llama3.2:1b:\u2003CLOUD\u3000", "1b"),
        ("library/llama3.2:1b-Cloud", "1b"),
    ],
)
def test_a_name_that_leaves_the_house_says_so(text: str, tag: str) -> None:
    name = canonical(text)

    assert Name("registry.ollama.ai", "library", "llama3.2", tag, cloud=True) == name
    assert canonical(f"llama3.2:{tag}") != name


@pytest.mark.parametrize("text", ["my-cloud-model", "llama-cloud", "cloud", "local", "x-cloud/m:1b", "m:1b-local"])
def test_a_cloud_in_another_place_means_nothing(text: str) -> None:
    assert not canonical(text).cloud


@pytest.mark.parametrize(
    "text",
    ["x:cloud:local", "x:1b:local:local", "x:1b-cloud-cloud", "x:1b-cloud:local", "x:1b:cloud-cloud", "x:local:cloud"],
)
def test_a_source_said_twice_is_refused(text: str) -> None:
    with pytest.raises(BadName):
        canonical(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\u2028",
        ":",
        "/",
        "llama3.2:",
        ":1b",
        ":local",
        ":cloud",
        "registry.ollama.ai/llama3.2",
        "library//llama3.2",
        "/llama3.2",
        "llama3.2/",
        "a/b/c/d",
        "../../etc/passwd",
        ".hidden",
        "-flag",
        "m:.1",
        "m:-cloud",
        "llama3.2:1b@sha256:00",
        "llama3.2:1b@sha256-00",
        "llama3.2 :1b",
        "llama 3.2",
        "llama3.2:1b\x00",
        "llama3.2:1b\u200b",
        "\x1cllama3.2:1b",
        "llama3.2:1b\x1f",
        "llama3.2%3A1b",
        "llama3.2\\1b",
        "lla\u1d0da3.2",
        "\u212a",
        "na\u017fe",
        "\udcff",
        "a" * 81,
        "m:" + "a" * 81,
        "a" * 81 + "/m",
        "a" * 351 + "/n/m",
    ],
)
def test_what_names_no_model_is_refused(text: str) -> None:
    with pytest.raises(BadName):
        canonical(text)


@pytest.mark.parametrize(
    "text",
    [
        "llama3.2",
        "llama3.2:1b-q4",
        "alice/llama3.2:1b",
        "hf.co/library/llama3.2:1b",
        "registry.ollama.ai:443/library/llama3.2:1b",
        "registry.ollama.ai./library/llama3.2:1b",
    ],
)
def test_a_look_alike_is_another_model(text: str) -> None:
    assert LLAMA != canonical(text)


def test_the_parts_are_told_apart_from_the_end() -> None:
    assert Name("localhost:5000", "ns", "m", "latest") == canonical("localhost:5000/ns/m")
    assert Name("registry.ollama.ai", "library", "sha256", "abcd") == canonical("sha256:abcd")
    assert Name("hf.co", "bart", "gemma-2b.gguf", "q4_k_m") == canonical("hf.co/Bart/Gemma-2B.GGUF:Q4_K_M")


@pytest.mark.parametrize("longest", ["a" * 80, "m:" + "a" * 80, "a" * 80 + "/m", "a" * 350 + "/n/m"])
def test_each_part_may_be_as_long_as_for_ollama(longest: str) -> None:
    assert longest in str(canonical(longest))


@pytest.mark.parametrize(
    ("text", "shortest", "spelling"),
    [
        ("Registry.Ollama.AI/Library/Llama3.2:1B", "llama3.2:1b", "Llama3.2:1B"),
        ("Mistral", "mistral:latest", "Mistral:latest"),
        ("Alice/M:local", "alice/m:latest", "Alice/M:latest"),
        ("HF.co/Bart/M", "hf.co/bart/m:latest", "HF.co/Bart/M:latest"),
        ("hf.co/library/m", "hf.co/library/m:latest", "hf.co/library/m:latest"),
        ("GPT-oss:120B-Cloud", "gpt-oss:120b:cloud", "GPT-oss:120B:cloud"),
        ("gpt-oss:cloud", "gpt-oss:latest:cloud", "gpt-oss:latest:cloud"),
    ],
)
def test_a_name_has_a_shortest_form_and_keeps_the_callers_case_for_sending(
    text: str, shortest: str, spelling: str
) -> None:
    assert (shortest, spelling) == (str(canonical(text)), canonical(text).spelling)


@given(ANYTHING | NAME_LIKE)
@example("a" * 350 + "/" + "b" * 80 + "/" + "c" * 80)
def test_any_text_is_one_name_or_none_and_its_forms_mean_the_same(text: str) -> None:
    try:
        name = canonical(text)
    except BadName:
        return

    assert name == canonical(str(name)) == canonical(name.spelling)
    assert str(name) == str(canonical(str(name))) == name.spelling.lower()
    assert str(name).isascii()
    assert not set(str(name)) & set(SPACE)
    assert max(len(str(name)), len(name.spelling)) <= LONGEST


PART = st.from_regex(r"[a-z0-9_][a-z0-9_-]{0,9}", fullmatch=True)


@given(
    PART,
    PART.filter(lambda tag: tag not in ("cloud", "local") and not tag.endswith("-cloud")),
    st.text(st.sampled_from(SPACE)),
    st.booleans(),
)
def test_case_white_space_and_defaults_make_no_difference(model: str, tag: str, space: str, loud: bool) -> None:
    prefixes, sources = ("", "library/", "registry.ollama.ai/library/"), ("", ":local", f":{space}local")
    texts = [f"{prefix}{model}:{tag}{source}" for prefix, source in itertools.product(prefixes, sources)]
    names = {canonical(space + (text.upper() if loud else text) + space) for text in texts}

    assert {Name("registry.ollama.ai", "library", model, tag)} == names


@given(st.text(min_size=LONGEST + 1, max_size=LONGEST + 9))
def test_a_text_that_is_too_long_is_not_looked_at(text: str) -> None:
    with pytest.raises(BadName):
        canonical(text)


@pytest.mark.parametrize(
    ("pattern", "covers", "spares"),
    [
        ("*", "m m:1b a/m hf.co/a/m:q4", ""),
        ("llama3.2", "llama3.2 llama3.2:latest LLAMA3.2", "llama3.2:1b llama3"),
        ("llama3.2:1b", "llama3.2:1b library/llama3.2:1b", "llama3.2 llama3.2:1b-q4 alice/llama3.2:1b"),
        ("LLAMA3.2:1B", "llama3.2:1b", "llama3.2"),
        ("registry.ollama.ai/library/llama3.2:1b", "llama3.2:1b", "hf.co/library/llama3.2:1b"),
        ("llama3.2:*", "llama3.2 llama3.2:1b", "llama3.3:1b llama3x2:1b alice/llama3.2"),
        ("llama3*", "llama3 llama3.2:1b llama3-gradient:8b", "llama2 alice/llama3"),
        ("*:1b", "m:1b n:1b", "m m:1bx a/m:1b"),
        ("alice/*", "alice/m alice/m:1b", "m bob/m hf.co/alice/m alicex/m"),
        ("*/m", "alice/m library/m", "n hf.co/alice/m alice/m:1b"),
        ("hf.co/*", "hf.co/a/m hf.co/b/n:q4", "m a/m hfxco/a/m hf.com/a/m"),
        ("hf.co/a/*", "hf.co/a/m:q4", "hf.co/b/m hf.co/ab/m"),
        ("localhost:5000/*", "localhost:5000/a/m:q4", "m localhost/a/m"),
        ("*/*/*:*", "m a/m:1b hf.co/a/m", ""),
        (" m ", "m", "n"),
        ("m:*", "m m:1b m:1b-cloud m:cloud", "n:cloud"),
        ("m:1b", "m:1b m:1b-cloud m:1b:Cloud", "m:cloud"),
        ("m:local", "m m:latest m:local", "m:1b"),
        # As Ollama lists what is answered on ollama.com, and as the gate tells it.
        ("m:1b-cloud", "m:1b-cloud m:1b:cloud M:1B:Cloud", "m:1b m:1b:local m:cloud n:1b-cloud"),
        ("M:1b:Cloud", "m:1b-cloud m:1b:cloud", "m:1b m:cloud"),
        ("m:cloud", "m:cloud m:latest:cloud m:latest-cloud", "m m:1b-cloud"),
        ("m:*-cloud", "m:cloud m:1b-cloud", "m m:1b n:cloud"),
        ("*:cloud", "m:cloud m:1b-cloud", "m m:1b a/m:cloud"),
        ("hf.co/*:1b-cloud", "hf.co/a/m:1b-cloud", "hf.co/a/m:1b m:1b-cloud"),
    ],
)
def test_a_pattern_covers(pattern: str, covers: str, spares: str) -> None:
    assert covers.split() == [text for text in covers.split() if covered(canonical(text), (pattern,))]
    assert [] == [text for text in spares.split() if covered(canonical(text), (pattern,))]


def test_one_of_several_patterns_is_enough_and_none_is_none() -> None:
    assert covered(LLAMA, ("mistral", "llama3.2:1b"))
    assert not covered(LLAMA, ("mistral", "gemma3"))
    assert not covered(LLAMA, ())


@pytest.mark.parametrize(
    "pattern",
    ["", " ", "a b", "[ab]", "m?", "a/b/c/d", "a//b", "m:", "/m", "m,n", "m\nn", ".*(x)", "\u2603", "https://x/y/z/m"],
)
def test_what_is_no_pattern_is_said_to_be_none(pattern: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        canonical_pattern(pattern)


@pytest.mark.parametrize("pattern", ["m:-cloud", ":cloud", "m::cloud", "m:cloud:local", "m:1b-cloud:cloud"])
def test_a_cloud_that_is_of_no_name_makes_no_pattern(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"is not|only once"):
        canonical_pattern(pattern)


@given(ANYTHING | st.text(st.sampled_from("ab.*:/ ")) | st.lists(st.sampled_from([*"a*:/", *PIECES])).map("".join))
def test_a_pattern_in_its_one_form_is_its_own(text: str) -> None:
    try:
        pattern = canonical_pattern(text)
    except ValueError:
        return

    assert pattern == canonical_pattern(pattern)


@given(NAME_LIKE)
@example("m:1b-cloud")
def test_a_name_without_a_star_covers_exactly_itself(text: str) -> None:
    try:
        name = canonical(text)
    except BadName:
        return

    assert covered(name, (str(name),))
    assert not covered(name, (f"{name}x",))
    if name.cloud:
        assert not covered(replace(name, cloud=False), (str(name),))


# What a key may use, as it is told.


@pytest.mark.parametrize(
    ("plan", "key", "common"),
    [
        (("*",), None, ["*"]),
        (("*",), ("gemma3:*", "mistral"), ["gemma3:*", "mistral:latest"]),
        (("gemma3:*",), ("*",), ["gemma3:*"]),
        (("gemma3:*", "llama3*"), ("gemma3:4b", "phi4", "llama*"), ["gemma3:4b", "llama3*:*"]),
        (("gemma3:*",), ("phi4",), []),
        (("*:latest",), ("gemma3:*",), ["gemma3:*"]),
        (("hf.co/*",), ("hf.co/bartowski/*", "HF.co/bartowski/*"), ["hf.co/bartowski/*:*"]),
        (("gpt-oss:*",), ("gpt-oss:120b-cloud", "gpt-oss:20b"), ["gpt-oss:120b:cloud", "gpt-oss:20b"]),
        (("gpt-oss:cloud",), ("gpt-oss",), ["gpt-oss:latest:cloud"]),
    ],
)
def test_a_plan_and_its_key_have_the_narrower_of_their_patterns_in_common(
    plan: tuple[str, ...], key: tuple[str, ...] | None, common: list[str]
) -> None:
    assert common == [shortest(one) for one in both(plan, key)]


@given(
    st.lists(st.sampled_from(["*", "gemma3:*", "gemma3:4b", "g*", "*:4b", "hf.co/*", "hf.co/a/*:*"]), max_size=3),
    st.lists(st.sampled_from(["*", "gemma3:*", "gemma3:4b", "g*", "*:4b", "hf.co/*", "hf.co/a/*:*"]), max_size=3),
    st.sampled_from(["gemma3:4b", "gemma3:1b", "phi4:4b", "hf.co/a/gemma3:4b", "hf.co/b/g:latest"]),
)
def test_what_both_lists_cover_is_covered_by_what_they_have_in_common(
    plan: list[str], key: list[str], name: str
) -> None:
    told = both(tuple(plan), tuple(key))
    by_both = covered(canonical(name), tuple(plan)) and covered(canonical(name), tuple(key))

    assert covered(canonical(name), told) or not by_both
    assert covered(canonical(name), tuple(key)) or not covered(canonical(name), told)


@given(
    st.sampled_from(
        [
            "*",
            "gemma3",
            "gemma3:*",
            "*:4b",
            "hf.co/*",
            "hf.co/a/*:q4",
            "user/model:*",
            "a.b/*:*",
            "*/*/x:*",
            "m:*-cloud",
        ]
    )
)
def test_the_shortest_form_of_a_pattern_means_the_same(pattern: str) -> None:
    assert canonical_pattern(pattern) == canonical_pattern(shortest(pattern))


@pytest.mark.parametrize("pattern", ["*a" * 30 + "b", "*" * 200 + "0", "m:" + "*a" * 30 + "b", "*a*" * 20 + "/x/y"])
def test_a_pattern_of_many_stars_is_looked_through_once(pattern: str) -> None:
    """A search that goes back to every star takes longer than anybody lives."""
    names = [canonical("a" * 80), canonical(f"{'a' * 80}:{'a' * 80}"), canonical(f"{'a' * 80}/{'a' * 80}/m")]

    assert [False] * 3 == [covered(name, (pattern,)) for name in names]


def _fits(pattern: str, text: str) -> bool:
    """What a star means, told as slowly and plainly as it can be."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return _fits(pattern[1:], text) or (bool(text) and _fits(pattern, text[1:]))
    return bool(text) and pattern[0] == text[0] and _fits(pattern[1:], text[1:])


@given(
    st.text("ab*", min_size=1, max_size=7),
    st.text("ab*", min_size=1, max_size=5),
    st.text("ab", min_size=1, max_size=8),
    st.text("ab", min_size=1, max_size=6),
)
def test_a_star_stands_for_any_signs_of_its_own_part(model: str, tag: str, named: str, tagged: str) -> None:
    fits = _fits(model, named) and _fits(tag, tagged)

    assert fits == covered(canonical(f"{named}:{tagged}"), (f"{model}:{tag}",))
