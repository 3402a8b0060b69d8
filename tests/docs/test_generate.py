from pathlib import Path

import pytest

from docs import generate


def test_pages_that_are_out_of_step_are_named_and_written_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == generate.main([], tmp_path)
    assert 0 == generate.main(["--check"], tmp_path)

    (tmp_path / "errors.md").write_text("# Errors\n")
    capsys.readouterr()

    assert 1 == generate.main(["--check"], tmp_path)
    assert f"{tmp_path / 'errors.md'} is not what the code says: scripts/docs --write\n" == capsys.readouterr().err
    assert "# Errors\n" == (tmp_path / "errors.md").read_text()
    assert 0 == generate.main([], tmp_path)
    assert [] == generate.stale(tmp_path)


def test_what_it_does_not_know_it_does_not_do(tmp_path: Path) -> None:
    assert 2 == generate.main(["--chekc"], tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_every_command_is_told_with_each_of_its_options() -> None:
    page = generate.commands()

    assert "\n## `llamagate serve`\n\nOpen the gate, until it is told to stop.\n" in page
    assert "\n### `llamagate keys create`\n" in page
    assert "| `--user USER` | Who will use it. Needed. |" in page
    assert "| `--root FOLDER` | Write below this folder, as for a package. Default: `/`. |" in page
    assert "\nllamagate restore FILE [OPTIONS]\n" in page
    assert "\n### `llamagate usage export`\n" in page


def test_every_refusal_is_told_with_the_status_that_the_caller_gets() -> None:
    lines = [line.split(" | ") for line in generate.error_codes().splitlines() if line.startswith("| ")]
    rows = {line[0].strip("| `"): line[1] for line in lines}

    assert ("404", "503", "Ollama's own", "none") == tuple(
        rows[code] for code in ("model_not_found", "model_server_busy", "backend_refused", "client_left")
    )


@pytest.mark.parametrize(("text", "shown"), [("a|b", "a\\|b"), ("a\nb", "a b"), ("plain", "plain")])
def test_a_cell_stays_a_cell(text: str, shown: str) -> None:
    assert shown == generate.cell(text)
