"""The image: its steps done anew in a sandbox, and what comes of them run from its start to its end."""

import fnmatch
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from proxy import __version__
from tests.deploy.dockerfile import Box, Stage, Unreachable, build, copy, fetched, stages

pytestmark = pytest.mark.timeout(600)  # The first time, all packages are fetched.

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
SMOKE = Path(__file__).with_name("smoke.py")
STAGES = stages(DOCKERFILE)
BUILD, FINAL = STAGES
USER = 10001


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Box:
    """What the build stage has made, where the final one copies it."""
    if shutil.which("bwrap") is None:
        pytest.skip("there is no bwrap here; on Debian it is in the package bubblewrap")
    box = Box(tmp_path_factory.mktemp("image"))
    tried = box.run(["true"], {"PATH": "/usr/bin:/bin"})
    if tried.returncode:
        pytest.skip(f"bwrap makes no sandbox on this machine: {tried.stderr.strip()}")
    cache = getattr(request.config, "cache", None)  # None where pytest was told to keep nothing.
    folder = cache.mkdir("deploy_wheels") if cache else tmp_path_factory.mktemp("wheels")
    try:
        wheels = fetched([ROOT / f"requirements/{name}.lock" for name in ("build", "runtime")], folder)
    except Unreachable as error:
        pytest.skip(f"the packages of the locks cannot be fetched here: {error}")
    build(BUILD, ROOT, box, wheels)
    (state,) = (step.words for step in FINAL.all("COPY") if "/opt/state" in step.words)
    copy(*map(box.place, state[-2:]))
    shutil.rmtree(box.place("/opt/build"))
    return box


@pytest.fixture(scope="module")
def told(image: Box) -> dict[str, Any]:
    """What was seen of one life of it. It gets no network at all, and no variable but its own."""
    shutil.copy(SMOKE, image.place("/src"))
    start = [*FINAL.last("ENTRYPOINT").words, *FINAL.last("CMD").words]
    check = json.loads(FINAL.last("HEALTHCHECK").said.partition(" CMD ")[2])
    program = ["/opt/llamagate/bin/python", "/mnt/smoke.py", json.dumps(start), json.dumps(check)]
    folder = FINAL.last("WORKDIR").said
    done = image.run(program, FINAL.environment, user=USER, folder=folder)

    assert 0 == done.returncode, done.stderr
    return dict(json.loads(done.stdout))


def test_the_image_serves_from_its_first_check_to_its_end(told: dict[str, Any]) -> None:
    assert told["stream"].endswith("data: [DONE]\n\n")
    assert [("alice", 1)] == [(row["user"], row["calls"]) for row in told["usage"]]
    assert 0 == told["ended"]
    assert "Traceback" not in told["errors"]
    assert {"llamagate.db", "pepper"} <= set(told["kept"])


def test_it_is_nobody_and_writes_nothing_but_its_state(told: dict[str, Any]) -> None:
    assert USER == told["user"]
    assert "written" != told["code"]
    assert 0 != told["pip"]


def test_the_folder_for_its_state_is_for_nobody_else_to_look_into(image: Box) -> None:
    """The volume that is mounted there begins as it is."""
    assert 0o700 == image.place("/var/lib/llamagate").stat().st_mode & 0o777


def test_the_bill_of_materials_is_of_this_version(image: Box) -> None:
    told = json.loads(image.place("/opt/llamagate/share/sbom.cdx.json").read_text())

    assert __version__ == told["metadata"]["component"]["version"]
    assert {"aiohttp", "cryptography"} <= {one["name"] for one in told["components"]}


def test_everything_installed_is_in_the_bill(image: Box) -> None:
    code = "import importlib.metadata as m, json; print(json.dumps([[d.name, d.version] for d in m.distributions()]))"
    environment = FINAL.environment
    there = json.loads(image.run(["/opt/llamagate/bin/python", "-c", code], environment, user=USER).stdout)
    told = json.loads(image.place("/opt/llamagate/share/sbom.cdx.json").read_text())
    known = {(one["name"], one["version"]) for one in told["components"]}
    found = {(re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in there}

    assert {("llamagate", __version__)} == found - known


def test_hadolint_finds_no_fault() -> None:
    linter = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    if linter is None:
        pytest.skip("there is no hadolint here")
    done = subprocess.run([linter, ROOT / "deploy/Dockerfile"], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stdout)


def test_the_only_steps_that_are_not_tried_here_are_those_on_the_base_itself() -> None:
    assert ["python -m pip uninstall"] == [step.said[:23] for step in FINAL.all("RUN")]


def test_every_base_is_one_exact_version() -> None:
    assert ["python:3.13.14-slim-bookworm"] == re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert {"${PYTHON_IMAGE}"} == set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))


def test_packages_come_as_wheels_whose_hashes_are_known() -> None:
    installs = [one for step in BUILD.all("RUN") for one in step.said.split("&&") if " install " in one]

    assert 3 == len(installs)
    for one in installs:
        assert "--require-hashes --only-binary :all:" in one or "--no-index --no-deps" in one


def test_nobody_runs_it_as_root() -> None:
    uid, gid = FINAL.last("USER").said.split(":")

    assert (str(USER), str(USER)) == (uid, gid)
    assert f"{USER}:{USER}" in next(step.said for step in FINAL.all("COPY") if "/var/lib" in step.said)


@pytest.mark.parametrize("stage", STAGES, ids=["build", "final"])
def test_no_secret_is_in_an_image(stage: Stage) -> None:
    assert set() == {name for name in stage.environment if "PEPPER" in name or name.endswith(("_URL", "PASSWORD"))}


def test_the_context_holds_what_is_copied_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    let_in = [line[1:] for line in lines if line.startswith("!")]
    copied = {source for step in BUILD.all("COPY") for source in step.words[:-1]}

    assert "*" == lines[0]
    assert copied == set(let_in)
    assert [] == [name for name in let_in if fnmatch.fnmatch(name, "*.env") or not (ROOT / name).exists()]
