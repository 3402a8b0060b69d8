"""The bill of materials, from locks small and real."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = """\
aiohttp==3.14.5 \\
    --hash=sha256:{a} \\
    --hash=sha256:{b}
    # via llamagate (pyproject.toml)
yarl==1.24.5 ; python_version < '3.14' \\
    --hash=sha256:{c}
    # via
    #   -c requirements/dev.lock
    #   aiohttp
    #   llamagate (pyproject.toml)
""".format(a="a" * 64, b="b" * 64, c="c" * 64)


def bill(lock: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(ROOT / "deploy/sbom.py"), str(lock)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_lock_becomes_a_bill_with_who_wants_what(tmp_path: Path) -> None:
    (tmp_path / "x.lock").write_text(LOCK)
    told = json.loads(bill(tmp_path / "x.lock").stdout)
    needs = {one["ref"].split("/")[1].split("@")[0]: one["dependsOn"] for one in told["dependencies"]}
    aiohttp, yarl = told["components"]

    assert ("CycloneDX", "1.6") == (told["bomFormat"], told["specVersion"])
    assert "pkg:pypi/aiohttp@3.14.5" == aiohttp["purl"]
    assert ["a" * 64, "b" * 64] == [one["content"] for one in aiohttp["hashes"]]
    assert [{"name": "llamagate:marker", "value": "python_version < '3.14'"}] == yarl["properties"]
    assert ["pkg:pypi/aiohttp@3.14.5", "pkg:pypi/yarl@1.24.5"] == needs["llamagate"]
    assert ["pkg:pypi/yarl@1.24.5"] == needs["aiohttp"]


def test_the_same_lock_gives_the_same_bill_and_another_lock_another_number(tmp_path: Path) -> None:
    for name, text in (("one", LOCK), ("two", LOCK), ("three", LOCK.replace("1.24.5", "1.24.6"))):
        (tmp_path / name).write_text(text)
    one, two, three = (bill(tmp_path / name).stdout for name in ("one", "two", "three"))

    assert one == two
    assert json.loads(one)["serialNumber"] != json.loads(three)["serialNumber"]


def test_the_script_tells_of_every_package_that_serving_needs() -> None:
    script = ROOT / "scripts/sbom"
    told = json.loads(subprocess.run([script], capture_output=True, text=True, check=True).stdout)
    pinned = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements/runtime.lock").read_text(), re.MULTILINE)

    assert sorted(pinned) == sorted(one["name"] for one in told["components"])
    assert {True} == {bool(one["hashes"]) for one in told["components"]}


@pytest.mark.parametrize("line", ["aiohttp>=3", "-e .", "    --hash=md5:00"])
def test_what_is_no_lock_makes_no_bill(tmp_path: Path, line: str) -> None:
    (tmp_path / "x.lock").write_text(f"{LOCK}{line}\n")
    done = bill(tmp_path / "x.lock")

    assert 0 != done.returncode
    assert "is none of a lock" in done.stderr
