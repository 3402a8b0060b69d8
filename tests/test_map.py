"""The picture of the architecture as tables, held against every import in ``proxy/``.

Whoever changes the picture changes it here first.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LEAVES = {"vocabulary", "errors", "late"}
ANSWERS = {"config", "auth", "policy", "limits", "dialects", "backends", "ledger"}
STORY = {"gateway", "relay", "aside"}
OWN = {"own"}
"""What the gate tells its callers itself, of what several of the answers know."""
EDGES = {"web", "admin", "telemetry", "schema", "demo", "doctor"}
EVERYONE = LEAVES | ANSWERS | STORY | OWN | EDGES

ARROWS: dict[str, set[str]] = {
    "vocabulary": set(),
    "errors": set(),
    "late": set(),
    **dict.fromkeys(ANSWERS, LEAVES),
    "relay": LEAVES | ANSWERS,
    "aside": set(),
    "gateway": LEAVES | ANSWERS | {"relay", "aside"},
    "own": LEAVES | {"policy", "limits", "ledger", "relay"},
    "web": LEAVES | ANSWERS | STORY,
    "admin": LEAVES | {"config", "auth", "ledger", "policy", "limits", "doctor"},
    # It asks what the gate would ask, by the same ways: the Redis client, the engine, the certificate as it is opened.
    "doctor": LEAVES | {"config", "auth.sql", "limits.redis.servers", "schema", "web.tls"},
    "telemetry": LEAVES | {"ledger"},
    "schema": LEAVES | {"auth.sql", "ledger.sql"},  # It compares the database with their tables.
    "demo": LEAVES,
    "bootstrap": EVERYONE,
    "__main__": EVERYONE | {"bootstrap"},
}
"""Who may import whom. A name stands for everything below it; everyone may import from within themselves."""

LIBRARIES: dict[str, set[str]] = {
    "aiohttp": {"backends.fetch", "web", "demo"},
    "alembic": {"schema"},
    "backports": {"dialects.codings"},  # zstd, which is in the standard library from Python 3.14 on …
    "compression": {"dialects.codings"},  # … under this name, unknown to older ones.
    "cryptography": {"auth"},
    "httptools": {"backends.wire"},
    "jwt": {"auth.tokens"},
    "msgspec": {"dialects", "ledger.steps", "ledger.sql", "ledger.usage_log", "telemetry.logs"},
    "opentelemetry": {"telemetry.traces"},
    "platformdirs": {"config", "bootstrap"},
    "prometheus_client": {"telemetry"},
    "pydantic": {"config"},
    "pyarrow": {"admin.cli.forms"},
    "redis": {"limits.redis", "doctor.looking.redis"},
    "rich": {"admin.cli", "__main__"},
    "sqlalchemy": {"auth.sql", "ledger.sql", "schema", "bootstrap", "doctor.looking.database"},
    "structlog": {"telemetry", "bootstrap"},
    "typer": {"admin.cli", "__main__"},
    "uvloop": {"bootstrap"},
    "xllamacpp": {"demo"},
    "yarl": {"backends.fetch"},  # The type of aiohttp's addresses, and a part of it.
}
"""Who may import which third party's library; one that has no row here may be imported by nobody."""

UNMIRRORED = {"deploy", "docs", "contracts", "samples", "fakes", "end_to_end", "security", "schema", "planted"}
"""Folders of ``tests/`` that hold more than the tests of one folder of ``proxy/``."""

UNMIRRORED_TESTS = {
    "test_map.py",
    "test_dependencies.py",
    "test_docs.py",
    "test_signed_tokens_docs.py",
    "test_scripts.py",
    "test_threat_model.py",
}
"""Tests of the repository itself."""


@dataclass(frozen=True, slots=True)
class Module:
    """A Python file of the package."""

    name: str
    """Dotted, without the leading ``proxy``, which is the empty name."""
    path: str
    source: str
    is_package: bool = False


@dataclass(frozen=True, slots=True)
class Import:
    """One name that one line imports."""

    module: Module
    line: int
    target: str
    """The dotted name of the module that is imported."""
    nested: bool = False
    """Inside a function, where the reader of the map doesn't see it."""

    @property
    def place(self) -> str:
        return f"{self.module.path}:{self.line}"

    @property
    def inside(self) -> str | None:
        """The target without its leading ``proxy``; None where it is somebody else's."""
        head, _, rest = self.target.partition(".")
        return rest if head == "proxy" else None


def modules(root: Path) -> list[Module]:
    found = []
    for path in sorted((root / "proxy").rglob("*.py")):
        parts = path.relative_to(root / "proxy").with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found.append(Module(name, path.relative_to(root).as_posix(), path.read_text(), is_package))
    return found


def statements(node: ast.AST, nested: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, nested
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from statements(child, nested or is_function)


def later(node: ast.AST, nested: bool = False) -> Iterator[tuple[ast.Call, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Name) and child.func.id == "late":
            yield child, nested
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from later(child, nested or is_function)


@cache
def read(source: str) -> tuple[list[tuple[ast.Import | ast.ImportFrom, bool]], list[tuple[ast.Call, bool]]]:
    """What a file imports, at once and later: to read all of them takes seconds, and many tests ask."""
    tree = ast.parse(source)
    return list(statements(tree)), list(later(tree))


def late_imports(module: Module) -> Iterator[Import]:
    """What a module has loaded later, by its name in so many letters; what is no such name is told of as ``?``."""
    for call, nested in read(module.source)[1]:
        (name,) = call.args
        yield Import(module, call.lineno, str(name.value) if isinstance(name, ast.Constant) else "?", nested)


def imports(module: Module, known: set[str]) -> Iterator[Import]:
    """What a module imports; ``known`` tells a submodule from a mere name in ``from package import name``."""
    yield from late_imports(module)
    for statement, nested in read(module.source)[0]:
        if isinstance(statement, ast.Import):
            targets = [alias.name for alias in statement.names]
        else:
            origin = statement.module or ""
            if statement.level:
                here = ["proxy", *filter(None, module.name.split("."))]
                above = here[: len(here) - statement.level + module.is_package]
                origin = ".".join([*above, *filter(None, [origin])])
            targets = []
            for alias in statement.names:
                longer = f"{origin}.{alias.name}"
                targets.append(longer if longer.removeprefix("proxy.") in known else origin)
        for target in dict.fromkeys(targets):
            yield Import(module, statement.lineno, target, nested)


def every_import(of: list[Module]) -> list[Import]:
    known = {module.name for module in of}
    return [one for module in of for one in imports(module, known)]


def within(name: str, rows: set[str]) -> bool:
    """Whether a dotted name or one of the folders around it is among the rows."""
    return any(name == row or name.startswith(f"{row}.") for row in rows)


def wrong_arrows(of: list[Module]) -> list[str]:
    wrong = []
    for one in every_import(of):
        if one.inside is None:
            continue
        source = one.module.name.partition(".")[0]
        if source not in ARROWS:
            if source:  # The package itself imports nothing, see below.
                wrong.append(f"{one.place}: {source} is not on the map")
            else:
                wrong.append(f"{one.place}: proxy/__init__ must not import {one.inside}")
            continue
        is_root = one.inside == "" and source not in LEAVES  # It holds the version.
        if not (is_root or within(one.inside, ARROWS[source] | {source})):
            wrong.append(f"{one.place}: {source} must not import {one.inside or 'proxy'}")
    return wrong


def wrong_libraries(of: list[Module]) -> list[str]:
    wrong = []
    for one in every_import(of):
        library = one.target.partition(".")[0]
        if one.inside is not None or library in sys.stdlib_module_names:
            continue
        if not within(one.module.name, LIBRARIES.get(library, set())):
            wrong.append(f"{one.place}: {one.module.name or 'proxy'} must not import {library}")
    return wrong


def hidden_imports(of: list[Module]) -> list[str]:
    return [f"{one.place}: imports {one.target} inside a function" for one in every_import(of) if one.nested]


def cycles(of: list[Module]) -> list[str]:
    """The arrows that close a circle, each with the way around."""
    arrows: dict[str, list[Import]] = {module.name: [] for module in of}
    for one in every_import(of):
        if one.inside in arrows and one.inside != one.module.name:
            arrows[one.module.name].append(one)
    found = []
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> None:
        for one in arrows[name]:
            target = one.inside or ""
            if target in way:
                around = [*way[way.index(target) :], target]
                found.append(f"{one.place}: closes the circle {' -> '.join(around)}")
            elif target not in done:
                walk(target, [*way, target])
        done.add(name)

    for name in arrows:
        if name not in done:
            walk(name, [name])
    return found


def first_sentence(docstring: str) -> str:
    """Up to the first mark that ends a sentence."""
    words = []
    for word in docstring.split():
        words.append(word)
        if word[-1] in ".?!:":
            break
    return " ".join(words)


def unasked_questions(of: list[Module]) -> list[str]:
    wrong = []
    for module in of:
        if module.is_package and module.name:
            docstring = ast.get_docstring(ast.parse(module.source)) or ""
            if not first_sentence(docstring).endswith("?"):
                wrong.append(f"{module.path}:1: the docstring does not begin with the folder's question")
    return wrong


def unmirrored_tests(tests: list[str], of: list[Module]) -> list[str]:
    """Tests, by their paths below ``tests/``, that stand for no module."""
    mirrored = {"/".join(part.strip("_") for part in module.name.split(".")) for module in of if module.name}
    folders = {module.name.replace(".", "/") for module in of if module.is_package}
    wrong = []
    for test in tests:
        *folder, name = test.split("/")
        if (folder and folder[0] in UNMIRRORED) or (not folder and name in UNMIRRORED_TESTS):
            continue
        if name.startswith("test_"):
            subject = name.removeprefix("test_").removesuffix(".py")
            of_the_folder = subject == folder[-1] if folder else False
            if "/".join([*folder, subject]) in mirrored or (of_the_folder and "/".join(folder) in folders):
                continue
        elif "/".join(folder) in folders:  # `__init__`, or what the tests of this folder share
            continue
        wrong.append(f"tests/{test}:1: there is no such file in proxy/")
    return wrong


HERE = modules(ROOT)


def test_every_arrow_points_the_way_of_the_map() -> None:
    assert [] == wrong_arrows(HERE)


def test_every_library_is_imported_only_where_it_belongs() -> None:
    assert [] == wrong_libraries(HERE)


def test_every_import_stands_at_the_top_of_its_file() -> None:
    assert [] == hidden_imports(HERE)


def test_no_imports_run_in_a_circle() -> None:
    assert [] == cycles(HERE)


def test_every_folder_asks_its_question() -> None:
    assert [] == unasked_questions(HERE)


def test_every_folder_of_code_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "proxy").glob("*/*.py")}

    assert [] == [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()]


def test_the_tests_mirror_the_code() -> None:
    tests = [path.relative_to(ROOT / "tests").as_posix() for path in sorted((ROOT / "tests").rglob("*.py"))]

    assert [] == unmirrored_tests([test for test in tests if test != "__init__.py"], HERE)


def test_every_file_and_folder_is_on_the_map() -> None:
    assert set() == {module.name.partition(".")[0] for module in HERE if module.name} - ARROWS.keys()


def test_the_story_is_told_in_less_than_a_hundred_lines() -> None:
    assert len((ROOT / "proxy/gateway.py").read_text().splitlines()) < 100


# The map must have teeth: the same questions asked of small wrong packages.


def made(name: str, source: str, is_package: bool = False) -> Module:
    path = name.replace(".", "/")
    return Module(name, f"proxy/{path}/__init__.py" if is_package else f"proxy/{path}.py", source, is_package)


@pytest.mark.parametrize(
    ("name", "source", "complaint"),
    [
        ("auth.api_keys", "\nfrom proxy.ledger import Book", "proxy/auth/api_keys.py:2: auth must not import ledger"),
        ("auth.api_keys", "from proxy import ledger", "proxy/auth/api_keys.py:1: auth must not import ledger"),
        ("auth.api_keys", "from ..ledger import Book", "proxy/auth/api_keys.py:1: auth must not import ledger"),
        ("gateway", "import proxy.web.door", "proxy/gateway.py:1: gateway must not import web.door"),
        ("web.door", "from proxy.bootstrap import run", "proxy/web/door.py:1: web must not import bootstrap"),
        ("schema.state", "import proxy.auth.api_keys", "proxy/schema/state.py:1: schema must not import auth.api_keys"),
        ("admin.desk", "from proxy.gateway import x", "proxy/admin/desk.py:1: admin must not import gateway"),
        ("web.app", "import proxy.demo", "proxy/web/app.py:1: web must not import demo"),
        ("errors", "from proxy import __version__", "proxy/errors.py:1: errors must not import proxy"),
        ("helpers", "import proxy.errors", "proxy/helpers.py:1: helpers is not on the map"),
    ],
)
def test_an_arrow_that_points_the_wrong_way_is_named_by_file_and_line(name: str, source: str, complaint: str) -> None:
    assert [complaint] == wrong_arrows([*HERE, made("ledger", "", is_package=True), made(name, source)])[-1:]


def test_an_arrow_that_points_down_or_inside_is_no_complaint() -> None:
    down = made("web.door", "import proxy.gateway\nfrom proxy.errors import Refused\nfrom proxy import __version__")
    inside = made("ledger.sql", "from proxy.ledger import Book\nfrom . import report")
    tables = made("schema.env", "from proxy.ledger.sql import TABLES\nfrom proxy.auth import sql")

    assert [] == wrong_arrows([down, inside, tables, made("auth.sql", "", is_package=True)])


@pytest.mark.parametrize(
    ("name", "source", "complaint"),
    [
        ("gateway", "import aiohttp.web", "proxy/gateway.py:1: gateway must not import aiohttp"),
        ("ledger.x", "from sqlalchemy import Table", "proxy/ledger/x.py:1: ledger.x must not import sqlalchemy"),
        ("auth.tokens", "import requests", "proxy/auth/tokens.py:1: auth.tokens must not import requests"),
        ("auth.jwks", "import jwt", "proxy/auth/jwks.py:1: auth.jwks must not import jwt"),
        ("vocabulary", "import msgspec", "proxy/vocabulary.py:1: vocabulary must not import msgspec"),
    ],
)
def test_a_library_out_of_its_place_is_named_by_file_and_line(name: str, source: str, complaint: str) -> None:
    assert [complaint] == wrong_libraries([made(name, source)])


def test_an_import_inside_a_function_is_found_however_deep() -> None:
    source = "class Door:\n    async def open(self):\n        if True:\n            import json\n"

    assert ["proxy/web/door.py:4: imports json inside a function"] == hidden_imports([made("web.door", source)])


def test_what_is_loaded_later_is_an_import_too() -> None:
    module = made("auth.x", 'ledger = late("proxy.ledger.sql")\njwt = late("jwt")\nrest = late(name)')

    assert ["proxy/auth/x.py:1: auth must not import ledger.sql"] == wrong_arrows([module])
    assert [
        "proxy/auth/x.py:2: auth.x must not import jwt",
        "proxy/auth/x.py:3: auth.x must not import ?",
    ] == wrong_libraries([module])


def test_nothing_is_named_inside_a_function_to_be_loaded_later() -> None:
    module = made("web.door", 'def open():\n    return late("json")')

    assert ["proxy/web/door.py:2: imports json inside a function"] == hidden_imports([module])


def test_a_circle_is_told_with_the_way_around() -> None:
    circle = [
        made("ledger", "from proxy.ledger.sql import Sql", is_package=True),
        made("ledger.sql", "from proxy.ledger.report import x"),
        made("ledger.report", "\n\nfrom proxy.ledger import Book"),
    ]

    assert [
        "proxy/ledger/report.py:3: closes the circle ledger -> ledger.sql -> ledger.report -> ledger",
    ] == cycles(circle)


@pytest.mark.parametrize("docstring", ["", '"""The front door."""', '"""A door. Who asks?"""', '"""Who asks: we?"""'])
def test_a_folder_that_does_not_begin_with_its_question_is_named(docstring: str) -> None:
    complaint = "proxy/web/__init__.py:1: the docstring does not begin with the folder's question"

    assert [complaint] == unasked_questions([made("web", docstring, is_package=True)])


@pytest.mark.parametrize("test", ["auth/test_x.py", "nowhere/test_api_keys.py", "test_x.py", "nowhere/x.py"])
def test_a_test_of_nothing_is_named(test: str) -> None:
    code = [made("auth", "", is_package=True), made("auth.api_keys", "")]

    assert [f"tests/{test}:1: there is no such file in proxy/"] == unmirrored_tests([test], code)


def test_a_test_beside_its_code_in_an_extra_folder_or_of_the_repository_is_no_complaint() -> None:
    code = [made("", "", is_package=True), made("__main__", ""), made("gateway", "")]
    code += [made("auth", "", is_package=True), made("auth.api_keys", "")]
    beside = ["test_gateway.py", "test_main.py", "auth/__init__.py", "auth/test_api_keys.py", "auth/test_auth.py"]
    extra = ["contracts/test_key_stores.py", "fakes/ollama.py", "security/test_smuggling.py", "test_map.py"]

    assert [] == unmirrored_tests(beside + extra, code)
