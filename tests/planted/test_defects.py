import ast
from pathlib import Path

import pytest

from tests.planted.defects import DEFECTS, STILL_PASSES, CannotPlant, Defect, Edit

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.says)
def test_every_defect_can_be_planted_in_todays_code(defect: Defect) -> None:
    sources = {edit.file: (ROOT / edit.file).read_text() for edit in defect.edits}
    planted = dict(sources)
    for edit in defect.edits:
        planted[edit.file] = edit.applied(planted[edit.file])

    for file, source in sources.items():
        assert ast.dump(ast.parse(source)) != ast.dump(ast.parse(planted[file]))


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.says)
def test_whoever_should_notice_is_there(defect: Defect) -> None:
    for test in (*defect.tests, *STILL_PASSES):
        file, _, name = test.partition("::")

        assert f"def {name}(" in (ROOT / file).read_text() if name else (ROOT / file).is_file()


def test_there_are_twelve_and_each_way_has_words_of_its_own() -> None:
    assert set(range(1, 13)) == {defect.number for defect in DEFECTS}
    assert len(DEFECTS) == len({defect.says for defect in DEFECTS})


@pytest.mark.parametrize("source", ["", "a = 1\n", "a = 2\na = 2\n"])
def test_what_does_not_stand_there_once_cannot_be_replaced(source: str) -> None:
    with pytest.raises(CannotPlant, match=r"web/door\.py has this [02] times"):
        Edit("web/door.py", "a = 2", "a = 3").applied(source)
