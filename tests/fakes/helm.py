"""Renders a Helm chart as far as ours needs it: a small part of Go's templates, and of the functions that Helm adds.

What it does not know is an error, so that a chart cannot grow out of it unseen.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Values = dict[str, Any]
Scope = dict[str, Any]
_WORD = re.compile(r"\s*(\"(?:[^\"\\]|\\.)*\"|\(|\)|\||:=|,|[^\s()|,]+)")
_BLOCKS = ("if", "range", "with", "define")


class NotRendered(ValueError):
    """The chart says that it cannot be rendered so, or uses what is not known here."""


@dataclass(frozen=True, slots=True)
class Node:
    """A piece of text, a value to print, or a block with what is in it."""

    kind: str
    code: str
    inner: list["Node"] = field(default_factory=list)
    otherwise: list["Node"] = field(default_factory=list)


def rendered(chart: Path, values: Values, *, release: str = "gate", namespace: str = "default") -> list[dict[str, Any]]:
    """Every object of the chart, in the order of its files. Raises NotRendered."""
    told = yaml.safe_load((chart / "Chart.yaml").read_text())
    root = {
        "Values": merged(yaml.safe_load((chart / "values.yaml").read_text()), values),
        "Chart": {key[0].upper() + key[1:]: value for key, value in told.items()},
        "Release": {"Name": release, "Namespace": namespace, "Service": "Helm"},
    }
    page = Page(root)
    files = sorted((chart / "templates").iterdir())
    trees = {file.name: parsed(file.read_text()) for file in files}
    for tree in trees.values():
        page.define(tree)
    texts = [page.text(tree, root, {"$": root}) for name, tree in trees.items() if name.endswith(".yaml")]
    page.text(trees["NOTES.txt"], root, {"$": root})
    return [one for text in texts for one in yaml.safe_load_all(text) if one]


def merged(below: Values, above: Values) -> Values:
    """As Helm lays what is told over what the chart says."""
    whole = deepcopy(below)
    for key, value in above.items():
        inner = whole.get(key)
        whole[key] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return whole


def parsed(text: str) -> list[Node]:
    """The template as a tree."""
    pieces = list(_pieces(text))
    tree, rest = _tree(pieces)
    if rest:
        raise NotRendered(f"an {rest[0][1]} too many")
    return tree


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Texts and what stands in braces, in turn; a ``-`` in a brace has eaten the blanks beside it."""
    at, eats = 0, False
    for tag in re.finditer(r"\{\{(-?)\s*(.*?)\s*(-?)\}\}", text, re.DOTALL):
        piece = text[at : tag.start()]
        piece = piece.lstrip() if eats else piece
        yield "text", piece.rstrip() if tag[1] else piece
        yield "code", tag[2]
        at, eats = tag.end(), bool(tag[3])
    yield "text", text[at:].lstrip() if eats else text[at:]


def _tree(pieces: list[tuple[str, str]]) -> tuple[list[Node], list[tuple[str, str]]]:
    """Up to the ``end`` or ``else`` that is not of a block within; with that and what comes after it."""
    nodes: list[Node] = []
    while pieces:
        kind, code = pieces[0]
        word = code.split(maxsplit=1)[0] if kind == "code" and code else ""
        if word in ("end", "else"):
            return nodes, pieces
        pieces = pieces[1:]
        if kind == "text":
            nodes.append(Node("text", code))
        elif word in _BLOCKS:
            node, pieces = _block(word, code.removeprefix(word).strip(), pieces)
            nodes.append(node)
        elif not code.startswith("/*"):
            nodes.append(Node("print", code))
    return nodes, pieces


def _block(word: str, code: str, pieces: list[tuple[str, str]]) -> tuple[Node, list[tuple[str, str]]]:
    inner, pieces = _tree(pieces)
    otherwise: list[Node] = []
    if not pieces:
        raise NotRendered(f"{word} {code} has no end")
    ending = pieces[0][1]
    if ending.startswith("else if "):
        node, pieces = _block("if", ending.removeprefix("else if "), pieces[1:])
        return Node(word, code, inner, [node]), pieces
    if ending == "else":
        otherwise, pieces = _tree(pieces[1:])
    return Node(word, code, inner, otherwise), pieces[1:]


class Page:
    """What is defined, and how it is printed."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._defined: dict[str, list[Node]] = {}
        self._functions: dict[str, Callable[..., Any]] = {
            "include": lambda name, dot: self.text(self._defined[name], dot, {"$": dot}),
            "toYaml": lambda value: (
                yaml.safe_dump(value, sort_keys=True, width=10_000).removesuffix("\n...\n").rstrip()
            ),
            "nindent": lambda width, text: "\n" + _indented(width, text),
            "indent": _indented,
            "default": lambda other, value=None: value or other,
            "quote": lambda value: '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"',
            "printf": lambda form, *values: form % values,
            "trunc": lambda length, text: text[:length],
            "trimSuffix": lambda suffix, text: text.removesuffix(suffix),
            "contains": lambda part, text: part in text,
            "join": lambda between, values: between.join(values),
            "sha256sum": lambda text: hashlib.sha256(text.encode()).hexdigest(),
            "add": lambda *values: sum(values),
            "int": int,
            "not": lambda value: not value,
            "and": lambda *values: next((one for one in values if not one), values[-1]),
            "or": lambda *values: next((one for one in values if one), values[-1]),
            "eq": lambda one, other: one == other,
            "ne": lambda one, other: one != other,
            "required": _required,
        }

    def define(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            if node.kind == "define":
                self._defined[node.code.strip('"')] = node.inner

    def text(self, nodes: Sequence[Node], dot: Any, scope: Scope) -> str:
        return "".join(self._printed(node, dot, scope) for node in nodes)

    def _printed(self, node: Node, dot: Any, scope: Scope) -> str:
        match node.kind:
            case "text":
                return node.code
            case "define":
                return ""
            case "print":
                return _shown(self._value(node.code, dot, scope))
            case "if":
                chosen = node.inner if self._value(node.code, dot, scope) else node.otherwise
                return self.text(chosen, dot, scope)
            case "with":
                value = self._value(node.code, dot, scope)
                return self.text(node.inner, value, scope) if value else self.text(node.otherwise, dot, scope)
        names, _, code = node.code.rpartition(":=")
        wanted = [name.strip() for name in names.split(",")] if names else []
        over = self._value(code.strip(), dot, scope) or {}
        pairs = sorted(over.items()) if isinstance(over, dict) else list(enumerate(over))
        made = []
        for pair in pairs:
            told = dict(zip(wanted, pair if len(wanted) == 2 else pair[1:], strict=True)) if wanted else {}
            made.append(self.text(node.inner, pair[1], {**scope, **told}))
        return "".join(made)

    def _value(self, code: str, dot: Any, scope: Scope) -> Any:
        words = _WORD.findall(code)
        value, rest = self._pipeline(words, dot, scope)
        if rest:
            raise NotRendered(f"{' '.join(rest)} in {code}")
        return value

    def _pipeline(self, words: list[str], dot: Any, scope: Scope) -> tuple[Any, list[str]]:
        value, words = self._command(words, dot, scope, ())
        while words and words[0] == "|":
            value, words = self._command(words[1:], dot, scope, (value,))
        return value, words

    def _command(self, words: list[str], dot: Any, scope: Scope, last: tuple[Any, ...]) -> tuple[Any, list[str]]:
        head, values = words[0], []
        is_call = head in self._functions
        words = words[1:] if is_call else words
        while words and words[0] not in ("|", ")"):
            value, words = self._operand(words, dot, scope)
            values.append(value)
        if is_call:
            return self._functions[head](*values, *last), words
        if len(values) != 1 or last:
            raise NotRendered(f"{head} is no function that is known here")
        return values[0], words

    def _operand(self, words: list[str], dot: Any, scope: Scope) -> tuple[Any, list[str]]:
        word, words = words[0], words[1:]
        if word == "(":
            value, words = self._pipeline(words, dot, scope)
            return value, words[1:]
        if word.startswith('"'):
            return word[1:-1].replace('\\"', '"').replace("\\\\", "\\"), words
        if re.fullmatch(r"-?[0-9]+", word):
            return int(word), words
        if word in ("true", "false"):
            return word == "true", words
        if word.startswith("."):
            return _member(dot, word[1:]), words
        if word.startswith("$"):
            name, _, path = word.partition(".")
            return _member(scope[name], path), words
        if word in self._functions:
            return self._command([word], dot, scope, ())[0], words
        raise NotRendered(f"{word} is not known here")


def _member(value: Any, path: str) -> Any:
    for name in filter(None, path.split(".")):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def _indented(width: int, text: str) -> str:
    return "\n".join(" " * width + line for line in text.split("\n"))


def _required(why: str, value: Any) -> Any:
    if value in (None, ""):
        raise NotRendered(why)
    return value
