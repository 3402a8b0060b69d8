"""What docs/threat-model.md and SECURITY.md name, held against the tree."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODEL = (ROOT / "docs/threat-model.md").read_text()
SECURITY = (ROOT / "SECURITY.md").read_text()
ROW = re.compile(r"^\| ([A-Z][0-9]+) \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
FILE = re.compile(r"`((?:proxy|tests|scripts|docs)/[\w/.-]+|pyproject\.toml)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@cache
def names_of_tests(file: str) -> frozenset[str]:
    """The tests that pytest finds at the top of a file."""
    tree = ast.parse((ROOT / file).read_text())
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def lost_tests(text: str) -> list[str]:
    """The tests that a text names and that are not there."""
    named = TEST.findall(text)
    return [
        f"{file}::{name}" for file, name in named if not (ROOT / file).is_file() or name not in names_of_tests(file)
    ]


def anchors(text: str) -> set[str]:
    """The fragments by which GitHub finds the headings of a text."""
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text)}


def lost_links(text: str, folder: Path) -> Iterator[str]:
    """The links within the repository that lead nowhere."""
    for link in LINK.findall(text):
        name, _, anchor = link.partition("#")
        if "://" in name:
            continue
        there = folder / name
        if name and not there.is_file():
            yield link
            continue
        if anchor and anchor not in anchors(there.read_text() if name else text):
            yield link


def test_every_test_that_is_named_is_there() -> None:
    assert [] == lost_tests(MODEL)


def test_every_file_that_is_named_is_there() -> None:
    assert [] == [file for file in FILE.findall(MODEL + SECURITY) if not (ROOT / file).is_file()]


def test_every_link_leads_somewhere() -> None:
    assert [] == list(lost_links(MODEL, ROOT / "docs"))
    assert [] == list(lost_links(SECURITY, ROOT))


def test_every_threat_has_a_number_of_its_own_what_holds_it_and_a_test() -> None:
    rows = ROW.findall(MODEL)

    assert len(rows) == sum(bool(re.match(r"\| [A-Z][0-9]+ \|", line)) for line in MODEL.splitlines())
    assert {} == {number: count for number, count in Counter(row[0] for row in rows).items() if count > 1}
    assert [] == [number for number, _, _, shown in rows if not TEST.search(shown)]
    assert {"O5"} == {number for number, _, held, _ in rows if not FILE.search(held)}, "a sandbox is nobody's file"


def test_nothing_but_tests_shows_that_a_threat_is_held() -> None:
    assert [] == [number for number, _, _, shown in ROW.findall(MODEL) if TEST.sub("", shown).strip()]


def test_who_reads_it_is_told_what_is_not_held() -> None:
    assert {"what-is-not-held", "what-is-out-of-scope", "who-attacks"} <= anchors(MODEL)
    assert len(re.findall(r"^- \*\*", MODEL.partition("## What is not held")[2], re.MULTILINE)) > 5


@pytest.mark.parametrize(
    "name", ["tests/test_map.py::test_there_is_no_such_test", "tests/test_nowhere.py::test_the_tests_mirror_the_code"]
)
def test_a_test_that_is_not_there_is_noticed(name: str) -> None:
    assert [name] == lost_tests(f"`tests/test_map.py::test_the_tests_mirror_the_code` `{name}`")


@pytest.mark.parametrize("link", ["docs/nowhere.md", "docs/tls.md#nowhere", "#nowhere"])
def test_a_link_that_leads_nowhere_is_noticed(link: str) -> None:
    assert [link] == list(lost_links(f"# Here\n[a](docs/tls.md) [b](#here) [c](https://ollama.com) [d]({link})", ROOT))
