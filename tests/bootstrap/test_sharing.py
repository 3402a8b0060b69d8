import os
import warnings
from collections.abc import Callable

from proxy.bootstrap.sharing import Board, Note, Slot


def in_another_process(act: Callable[[], object]) -> None:
    with warnings.catch_warnings():
        # There may be threads in this process; what is done here needs nothing that one of them could hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def test_what_one_process_writes_another_reads() -> None:
    note = Note(100)

    assert b"" == note.read()

    for text in (b"first", b"second, which is longer", b"", b"x" * 100):
        in_another_process(lambda text=text: note.write(text))  # type: ignore[misc]

        assert text == note.read()


def test_a_text_without_room_leaves_what_stood_there() -> None:
    note = Note(4)

    assert [True, False] == [note.write(b"four"), note.write(b"fives")]
    assert b"four" == note.read()


def test_a_writer_that_dies_amid_its_text_leaves_what_stood_there() -> None:
    note = Note(100)
    note.write(b"before")
    turn = note._begin(2)
    note._memory[turn : turn + 20] = b"\x09\0\0\0torn and not whole"[:20]

    assert b"before" == note.read()


def test_a_note_that_makes_no_sense_is_none() -> None:
    note = Note(100)
    note.write(b"before")
    begin = note._begin(1)
    note._memory[begin : begin + 4] = b"\xff\xff\xff\xff"

    assert b"" == note.read()


def test_a_slot_tells_of_its_worker_and_is_vacated_after_it() -> None:
    slot = Slot(1)

    assert (0, False) == (slot.beats, slot.is_open)

    def work() -> None:
        slot.beat()
        slot.beat()
        slot.opened()
        slot.readiness.write(b"ready")
        slot.figures.write(b"many")

    in_another_process(work)

    assert (2, True, b"ready", b"many") == (slot.beats, slot.is_open, slot.readiness.read(), slot.figures.read())

    slot.vacate()

    assert (2, False, b"", b"many") == (slot.beats, slot.is_open, slot.readiness.read(), slot.figures.read())


def test_all_hear_of_a_new_configuration() -> None:
    board = Board(2)
    before = board.reloads
    in_another_process(board.reloaded)

    assert (0, [0, 1]) == (before, [slot.number for slot in board.slots])
    assert before != board.reloads
