"""PromQL, read as far as it takes to see which metrics and labels an expression needs.

Of https://prometheus.io/docs/prometheus/latest/querying/basics/ only what our own alerts and dashboards say: neither
subqueries nor ``offset``, ``@``, ``on`` or ``group_left``. Whatever else is there is no expression for it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?(?![a-z0-9.]))
    |(?P<word>[A-Za-z_:][A-Za-z0-9_:]*)
    |(?P<text>"(?:[^"\\]|\\.)*")
    |(?P<range>\[(?:\d+[smhdw]|\$__rate_interval)\])
    |(?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^(){},=<>]))""",
    re.VERBOSE,
)
AGGREGATIONS = frozenset("sum min max avg count topk bottomk".split())
ON_COUNTERS = frozenset({"rate", "increase"})
FUNCTIONS = ON_COUNTERS | {"histogram_quantile", "absent", "clamp_min", "clamp_max"}
_OPERATORS = frozenset("+ - * / % ^ == != > < >= <= and or unless".split())
_MATCHERS = frozenset(("=", "!=", "=~", "!~"))


class NoPromQL(ValueError):
    """It is none, or more than is understood here."""


@dataclass(frozen=True, slots=True)
class Selector:
    """One metric that is looked at, and how."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    """What is asked of them."""
    is_range: bool = False
    within: tuple[str, ...] = ()
    """Functions and aggregations around it, the outermost first."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """Labels that an aggregation keeps, and what of."""

    labels: tuple[str, ...]
    of: tuple[Selector, ...]


@dataclass(slots=True)
class Read:
    """What an expression looks at."""

    selectors: list[Selector] = field(default_factory=list)
    groupings: list[Grouping] = field(default_factory=list)


def read(expression: str) -> Read:
    """Raises NoPromQL."""
    reader = _Reader(tuple(_tokens(expression)))
    reader.expression(())
    reader.end()
    return reader.read


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise NoPromQL(f"what is {text[at : at + 20]!r}, in {text!r}?")
        yield found.lastgroup, found[found.lastgroup]
        at = found.end()


class _Reader:
    def __init__(self, tokens: tuple[tuple[str, str], ...]) -> None:
        self.read = Read()
        self._tokens = tokens
        self._at = 0

    def expression(self, within: tuple[str, ...]) -> None:
        self._operand(within)
        while self._next in _OPERATORS:
            self._take()
            self._operand(within)

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise NoPromQL(f"nothing should follow before {self._next!r}")

    @property
    def _next(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _take(self, wanted: str | None = None) -> str:
        if self._at >= len(self._tokens) or (wanted is not None and self._next != wanted):
            raise NoPromQL(f"{self._next!r} stands where {wanted or 'something else'} should")
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _kind(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def _operand(self, within: tuple[str, ...]) -> None:
        match self._kind():
            case "number":
                self._take()
            case "word":
                self._named(self._take(), within)
            case _:
                self._take("(")
                self.expression(within)
                self._take(")")

    def _named(self, word: str, within: tuple[str, ...]) -> None:
        if word in AGGREGATIONS:
            kept = self._kept()
            before = len(self.read.selectors)
            self._arguments((*within, word))
            kept = kept or self._kept()
            self.read.groupings.append(Grouping(kept, tuple(self.read.selectors[before:])))
        elif word == "time":
            self._take("(")
            self._take(")")
        elif self._next == "(":
            if word not in FUNCTIONS:
                raise NoPromQL(f"there is no function {word!r}")
            self._arguments((*within, word))
        else:
            self._selector(word, within)

    def _kept(self) -> tuple[str, ...]:
        if self._next != "by":
            return ()
        self._take()
        self._take("(")
        labels = [self._take()]
        while self._next == ",":
            self._take()
            labels.append(self._take())
        self._take(")")
        return tuple(labels)

    def _arguments(self, within: tuple[str, ...]) -> None:
        self._take("(")
        self.expression(within)
        while self._next == ",":
            self._take()
            self.expression(within)
        self._take(")")

    def _selector(self, name: str, within: tuple[str, ...]) -> None:
        labels: dict[str, str] = {}
        if self._next == "{":
            self._take()
            while self._next != "}":
                label = self._take()
                if self._take() not in _MATCHERS or self._kind() != "text":
                    raise NoPromQL(f"of {label!r} nothing is asked")
                labels[label] = self._take()[1:-1]
                if self._next != "}":
                    self._take(",")
            self._take("}")
        is_range = self._kind() == "range"
        if is_range:
            self._take()
        self.read.selectors.append(Selector(name, labels, is_range, within))
