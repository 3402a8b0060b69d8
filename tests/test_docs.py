"""What the docs say of the code, held against the code."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs import generate
from proxy.config import keys
from proxy.config.issuers import IssuerSettings
from proxy.config.limits import AmountSettings, EverybodySettings, LimitSettings
from proxy.config.load import Loaded, as_written, effective, load
from proxy.config.plans import setting_as_written
from proxy.config.prices import PriceSettings
from proxy.config.redis_url import QUERIES, SHAPES
from proxy.errors import Why
from proxy.policy.endpoints import ENDPOINTS
from proxy.policy.knobs import DEFAULTS
from proxy.policy.models import canonical_pattern
from proxy.vocabulary import KNOBS, SEGMENT, Knob, Risk, Rule
from tests.test_threat_model import lost_links

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs").glob("*/*.md"))]
    if "_build" not in path.parts
}
SETTINGS = PAGES["docs/settings.md"]
ROUTES = PAGES["docs/routes.md"]
CLIENTS = PAGES["docs/clients.md"]
TROUBLES = PAGES["docs/troubleshooting.md"]
EXAMPLES = [
    pytest.param(example, id=f"{page}-{number}")
    for page, text in PAGES.items()
    if text is not CLIENTS  # That of a client is its own.
    for number, example in enumerate(re.findall(r"```toml\n(.*?)```", text, re.DOTALL))
]
EVERY_CLIENT = (
    "OpenAI, Python",
    "OpenAI, Node.js",
    "Ollama, Python",
    "Ollama, Node.js",
    "Ollama's command line",
    "LangChain",
    "LlamaIndex",
    "Vercel AI SDK",
    "Open WebUI",
    "Continue",
    "Cline",
    "Zed",
    "Claude Code",
    "Codex",
)
ENOUGH_TROUBLES = 20


def told(text: str) -> Loaded:
    return load(
        text=text,
        file="README.md",
        environment={},
        flags={},
        read_secret=lambda path: "",
        check_pattern=canonical_pattern,
    )


def table(text: str, heading: str, number: int = 0) -> list[list[str]]:
    """The rows of a table below a heading, without its head."""
    section = text.partition(f"\n## {heading}")[2].partition("\n## ")[0]
    tables = [block for block in section.split("\n\n") if block.startswith("|")]
    lines = [line.strip("|").split(" | ") for line in tables[number].splitlines()]
    return [[cell.strip() for cell in line] for line in lines[2:]]


def settings() -> Iterator[tuple[str, list[str]]]:
    """Every row there should be, and the table of the file that it is of; none is empty."""
    for key, value, _ in effective(told("[plans.default]\nmodels = '*'")):
        path = tuple(key.split("."))
        shown = value if value.startswith("(") else f"`{value}`"
        if key == "state_dir":
            shown = "the user's state directory"
        elif key == "plans.default.models":
            shown = "`*`"  # As people write it; it is shown in the one form in which it is compared.
        description = keys.table(path).model_fields[path[-1]].description
        assert description is not None
        above = path[0] if len(path) > 1 else ""
        yield above, [f"`{key.removeprefix('plans.default.').removeprefix(f'{above}.')}`", shown, description]


def rows(above: str) -> list[list[str]]:
    return [row for place, row in settings() if place == above]


def may_be(knob: Knob) -> str:
    rules = [rule.value for rule in Rule if rule in knob.rules and rule is not Rule.CLAMP]
    return ", ".join(rules + ([f"at_most ({knob.unit})"] if knob.unit else []))


def test_every_setting_is_told_with_its_default_and_its_meaning() -> None:
    assert rows("") == table(SETTINGS, "The gate")


def test_every_setting_of_a_plan_is_told_with_its_default_and_its_meaning() -> None:
    assert rows("plans") == table(SETTINGS, "Plans")


def test_every_setting_of_the_ledger_is_told_with_its_default_and_its_meaning() -> None:
    assert rows("ledger") == table(SETTINGS, "The ledger")


def test_every_price_is_told_with_its_meaning() -> None:
    fields = PriceSettings.model_fields.items()

    assert [[f"`{name}`", f"`{one.default}`", one.description] for name, one in fields] == table(SETTINGS, "Prices")
    assert rows("elsewhere") == table(SETTINGS, "Prices", 1)


def test_every_setting_of_proofs_is_told_with_its_default_and_its_meaning() -> None:
    assert rows("auth") == table(SETTINGS, "Proofs")


def test_every_setting_of_an_issuer_is_told_with_its_default_and_its_meaning() -> None:
    expected = []
    for name, one in IssuerSettings.model_fields.items():
        default = "(needed)" if one.is_required() else as_written(name, one.get_default(call_default_factory=True))
        expected.append([f"`{name}`", default if default.startswith("(") else f"`{default}`", one.description])

    assert expected == table(SETTINGS, "Issuers")


def test_every_setting_of_the_door_is_told_with_its_default_and_its_meaning() -> None:
    assert rows("door") == table(SETTINGS, "The door")


def test_every_setting_of_tls_is_told_with_its_default_and_its_meaning() -> None:
    assert rows("tls") == table(SETTINGS, "TLS")


def test_every_setting_of_traces_is_told_with_its_default_and_its_meaning() -> None:
    assert rows("traces") == table(SETTINGS, "Traces")


def test_no_setting_is_left_out() -> None:
    assert {"", "door", "plans", "ledger", "elsewhere", "auth", "tls", "traces"} == {above for above, _ in settings()}


def test_every_knob_is_told_with_its_default_and_its_rules() -> None:
    expected = [[f"`{name}`", f"`{setting_as_written(name, DEFAULTS[name])}`", may_be(KNOBS[name])] for name in KNOBS]

    assert expected == [row[:3] for row in table(SETTINGS, "Knobs")]


def test_every_limit_is_told_with_its_meaning() -> None:
    fields = {**AmountSettings.model_fields, "mode": EverybodySettings.model_fields["mode"]}
    shown = {name: f"`{one.default}`" if one.default else "(not set)" for name, one in fields.items()}

    assert [[f"`{name}`", shown[name], one.description] for name, one in fields.items()] == table(SETTINGS, "Limits")


def test_every_table_of_limits_is_told() -> None:
    levels = [name for name in LimitSettings.model_fields if name not in EverybodySettings.model_fields]
    tables = ["[limits]", "[plans.NAME.limits]", *(f"[plans.NAME.limits.{level}]" for level in levels)]

    assert [f"`{one}`" for one in tables] == [row[0] for row in table(SETTINGS, "Whose limits")]


def test_every_form_of_the_address_of_a_redis_is_told() -> None:
    shapes = [shape for scheme, shape in SHAPES.items() if not scheme.startswith("rediss")]

    assert [f"`{shape}`" for shape in shapes] == [row[0] for row in table(SETTINGS, "The gate", 1)]
    assert [f"`{query}`" for query in QUERIES.values()] == [row[0] for row in table(SETTINGS, "The gate", 2)]


def test_every_file_of_a_secret_is_told() -> None:
    assert set() == {name for name in keys.twins() if f"`{name}`" not in SETTINGS}


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_configuration_in_the_docs_is_a_good_one(example: str) -> None:
    assert told(example).settings.plans.keys() >= tomllib.loads(example).get("plans", {}).keys()


def test_the_docs_count_and_name_the_routes() -> None:
    code = set(re.findall(r"`[^`\n]+`", ROUTES))
    # Those of the owner's account and of the web are told in words.
    told_by_name = [one.path for one in ENDPOINTS if one.risk not in (Risk.ACCOUNT, Risk.OUTBOUND)]
    paths = {path.removesuffix(f"/{SEGMENT}") for path in told_by_name}

    assert f"All {len(ENDPOINTS)} routes" in ROUTES
    assert set() == {path for path in paths if not {f"`{path}`", f"`{path.rpartition('/')[2]}`"} & code}


def test_the_docs_draw_the_package_as_it_is() -> None:
    lines = re.findall(r"^[├└]── (.*)$", PAGES["docs/layout.md"], re.MULTILINE)
    drawn = {name.strip("/") for line in lines for name in re.findall(r"[a-z_]+(?:\.py|/)", line)}

    assert {path.name for path in (ROOT / "proxy").iterdir() if not path.name.startswith("_")} == drawn


def test_the_pages_that_follow_from_the_code_are_in_step_with_it() -> None:
    assert [] == generate.stale(), "scripts/docs --write"


def test_of_every_error_it_is_said_who_acts_and_what_helps() -> None:
    assert {one.code for one in generate.kinds()} == generate.TO_DO.keys()
    assert {"caller", "owner", "nobody"} == {who for who, _ in generate.TO_DO.values()}
    assert set(Why) == generate.WHY.keys()


def test_every_link_from_the_readme_leads_somewhere() -> None:
    assert [] == list(lost_links(PAGES["README.md"], ROOT))


def sections(text: str) -> dict[str, str]:
    """What stands below each heading of the second rank."""
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("client", EVERY_CLIENT)
def test_of_every_client_it_is_said_whether_a_test_runs_it(client: str) -> None:
    told = sections(CLIENTS)[client]
    files = re.findall(r"`(tests/end_to_end/test_\w+\.py)`", told)

    assert ("Run" in told.split("\n\n")[0]) == bool(files)
    assert files or told.lstrip().startswith("Not run here")
    assert [] == [file for file in files if not (ROOT / file).is_file()]


def test_symptoms_are_told_with_why_and_what_helps() -> None:
    rows = [line.strip("|").split(" | ") for line in TROUBLES.splitlines() if line.startswith("| ")]
    symptoms = [row for row in rows if len(row) == 3 and not row[1].startswith("why")]

    assert ENOUGH_TROUBLES <= len(symptoms)
    assert [] == [row for row in symptoms if not all(cell.strip() for cell in row)]


def test_every_code_that_a_symptom_names_is_one_of_ours() -> None:
    told = set(re.findall(r"\b[45]\d\d `(\w+)`", TROUBLES))

    assert set() == told - generate.TO_DO.keys()
    assert "invalid_api_key" not in told, "it says nothing: tell the reason"
