"""The docs as Sphinx builds them, with every warning a mistake."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.shell import ROOT

BUILD_SECONDS = 100


def built(root: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    words = ["-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "-c", "docs", "-d", str(folder / "trees")]
    return subprocess.run(
        [sys.executable, *words, ".", str(folder / "html")],
        cwd=root,
        check=False,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
    )


def test_the_docs_are_built_without_a_warning_and_every_page_is_there(tmp_path: Path) -> None:
    done = built(ROOT, tmp_path)

    assert ("", 0) == (done.stderr, done.returncode), done.stderr

    index = (tmp_path / "html/docs/index.html").read_text()
    pages = {path.stem for path in (tmp_path / "html/docs").glob("*.html")}

    assert {path.stem for path in (ROOT / "docs").glob("*.md")} == pages
    assert (tmp_path / "html/deploy/README.html").is_file()
    assert [] == [line for line in index.splitlines() if "<script" in line and "//" in line], "nothing from elsewhere"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("[lost](nowhere.md)", "nowhere.md"),
        ("[lost](../nowhere/)", "../nowhere/"),
        ("[lost](page.md#nowhere)", "nowhere"),
        ("[found](page.md#a-heading), and [a folder](../deploy) is none", None),
    ],
)
def test_a_link_that_leads_nowhere_fails_the_build(line: str, complaint: str | None, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "docs").mkdir(parents=True)
    (root / "deploy").mkdir()
    shutil.copy(ROOT / "docs/conf.py", root / "docs")
    (root / "docs/page.md").write_text("# Page\n\n## A heading\n\nText.\n")
    (root / "docs/index.md").write_text(f"# Index\n\n{line}\n\n```{{toctree}}\npage\n```\n")
    done = built(root, tmp_path)

    assert bool(complaint) == bool(done.returncode), done.stderr
    assert (complaint or "") in done.stderr
