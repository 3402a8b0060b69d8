import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.backends.wire import LARGEST_HEAD, MOST_AT_ONCE, READ_AHEAD, Wire
from proxy.errors import BackendBrokeOff, BackendFailed, BackendSilent, ClientGone
from proxy.vocabulary import Later
from tests.fakes.eventually import eventually

OK = b"HTTP/1.1 200 OK\r\n"
BODY = b"Because light scatters, and blue light most." * 3
WHOLE = OK + b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
CHUNKS = (
    OK
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + b"".join(b"%x\r\n%b\r\n" % (7, BODY[at : at + 7]) for at in range(0, 126, 7))
)
IN_CHUNKS = CHUNKS + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY) - 126, BODY[126:])
TO_THE_END = OK + b"\r\n" + BODY
TRAILED = IN_CHUNKS[:-2] + b"X-Sum: 1\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 2


class Transport(asyncio.Transport):
    """Remembers what was done with it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.is_paused = False
        self.is_aborted = False
        self.unsent = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def is_closing(self) -> bool:
        return self.is_aborted

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def abort(self) -> None:
        self.is_aborted = True


class World:
    """A wire over a transport of ours, and what came of it."""

    def __init__(self) -> None:
        self.gone: list[Wire] = []
        self.waiting: set[Wire] = set()
        self.wire = Wire(self.gone.append, self.waiting)
        self.transport = Transport()
        self.wire.connection_made(self.transport)
        self.taken: list[bytes] = []

    def ask(self, *, is_bodiless: bool = False, seconds: float = 60.0) -> "asyncio.Future[None]":
        return self.wire.ask(b"GET / HTTP/1.1\r\n\r\n", is_bodiless=is_bodiless, seconds=seconds)

    def feed(self, data: bytes, at: int = 0) -> None:
        """All at once, or in pieces of so many bytes, until the wire has enough of it."""
        for start in range(0, len(data), at or len(data)):
            self.wire.data_received(data[start : start + (at or len(data))])

    async def flow(self, idle: float = 60.0) -> bytes:
        await self.wire.flow(self.taken.append, idle)
        return b"".join(self.taken)


@given(
    st.sampled_from([WHOLE, IN_CHUNKS, TO_THE_END, TRAILED]), st.booleans(), st.lists(st.integers(1, 60), max_size=40)
)
def test_an_answer_is_the_same_however_its_bytes_are_cut(answer: bytes, has_interim: bool, cuts: list[int]) -> None:
    async def told() -> None:
        world = World()
        due = world.ask()
        flowing: asyncio.Task[bytes] | None = None
        rest = (INTERIM if has_interim else b"") + answer
        for cut in [*cuts, len(rest)]:
            if rest:
                world.wire.data_received(rest[:cut])
                rest = rest[cut:]
            if due.done() and flowing is None:
                flowing = asyncio.create_task(world.flow())
            await asyncio.sleep(0)
        world.wire.eof_received()
        assert flowing is not None

        assert BODY == await flowing
        assert (200, True) == (world.wire.status, world.wire.is_over)
        assert (answer is not TO_THE_END) == world.wire.is_usable

    asyncio.run(told())


@given(st.sampled_from([WHOLE, IN_CHUNKS]), st.data())
def test_one_that_is_cut_off_is_never_taken_for_whole(answer: bytes, data: st.DataObject) -> None:
    end = data.draw(st.integers(0, len(answer) - 1))

    async def told() -> None:
        world = World()
        due = world.ask()
        if end:
            world.feed(answer[:end])
        world.wire.connection_lost(None)
        if due.exception() is None:
            with pytest.raises(BackendBrokeOff):
                await world.flow()
        else:
            assert isinstance(due.exception(), BackendFailed)
        assert BODY.startswith(b"".join(world.taken))
        assert not world.wire.is_usable

    asyncio.run(told())


async def test_each_piece_is_handed_on_in_the_turn_in_which_it_comes() -> None:
    world = World()
    due = world.ask()
    world.feed(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    await due
    flowing = asyncio.create_task(world.flow())
    await asyncio.sleep(0)
    world.feed(b"2\r\nhi\r\n")
    assert [b"hi"] == world.taken
    world.feed(b"3\r\nyou\r\n0\r\n\r\n")

    assert [b"hi", b"you"] == world.taken
    assert b"hiyou" == await flowing


async def test_nothing_comes_while_the_last_piece_is_waited_for_and_nothing_is_lost() -> None:
    world, may_go_on, taken = World(), asyncio.Event(), []

    async def later() -> None:
        await may_go_on.wait()

    def take(piece: bytes) -> Later | None:
        taken.append(piece)
        return later() if piece == b"a" else None

    due = world.ask()
    world.feed(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    await due
    flowing = asyncio.create_task(world.wire.flow(take, 60.0))
    await asyncio.sleep(0)
    world.feed(b"1\r\nb\r\n1\r\nc\r\n")
    await asyncio.sleep(0)
    assert [b"a"] == taken
    may_go_on.set()
    world.feed(b"0\r\n\r\n")
    await flowing

    assert [b"a", b"b", b"c"] == taken


async def test_what_taking_a_piece_raises_ends_the_flow() -> None:
    world = World()

    def take(piece: bytes) -> None:
        raise ClientGone

    due = world.ask()
    world.feed(OK + b"Content-Length: 9\r\n\r\n")
    await due
    flowing = asyncio.create_task(world.wire.flow(take, 60.0))
    await asyncio.sleep(0)
    world.feed(b"abc")

    with pytest.raises(ClientGone):
        await flowing


async def test_a_client_that_takes_nothing_makes_the_backend_wait_once_enough_is_held() -> None:
    world = World()
    due = world.ask()
    world.feed(OK + b"Content-Length: %d\r\n\r\n" % (3 * READ_AHEAD))
    await due
    for _ in range(READ_AHEAD // 65536):
        world.feed(b"x" * 65536)
    assert not world.transport.is_paused
    world.feed(b"x")
    flowing = asyncio.create_task(world.flow())

    async def goes_on() -> bool | None:
        return None if world.transport.is_paused else True

    await eventually(goes_on, 20, "it goes on")
    world.wire.connection_lost(None)

    with pytest.raises(BackendBrokeOff):
        await flowing
    assert READ_AHEAD + 1 == sum(map(len, world.taken))
    assert MOST_AT_ONCE == max(map(len, world.taken))


async def test_to_leave_a_backend_that_waits_lets_it_go_on_first() -> None:
    world = World()
    due = world.ask()
    world.feed(OK + b"Content-Length: %d\r\n\r\n" % (3 * READ_AHEAD) + b"x" * (READ_AHEAD + 1))
    await due
    assert world.transport.is_paused

    world.wire.stop_listening()
    world.feed(b"x" * 100)

    assert not world.transport.is_paused


async def test_silence_is_told_before_the_head_and_after_it() -> None:
    now = asyncio.get_running_loop().time
    world = World()
    due = world.ask(seconds=60.0)
    world.wire.look(now() + 59.0)
    assert not due.done()
    world.wire.look(now() + 61.0)
    with pytest.raises(BackendSilent):
        await due
    assert world.transport.is_aborted

    other = World()
    due = other.ask(seconds=60.0)
    other.feed(OK + b"Content-Length: 9\r\n\r\nabc")
    await due
    other.wire.look(now() + 61.0)
    flowing = asyncio.create_task(other.flow(idle=5.0))
    await asyncio.sleep(0)
    other.wire.look(now() + 4.0)
    assert not flowing.done()
    other.wire.look(now() + 6.0)
    with pytest.raises(BackendSilent):
        await flowing
    assert [b"abc"] == other.taken


async def test_who_waits_for_the_backend_is_looked_at_and_nobody_else() -> None:
    world, may_go_on = World(), asyncio.Event()

    async def later() -> None:
        await may_go_on.wait()

    assert set() == world.waiting
    due = world.ask()
    assert {world.wire} == world.waiting
    world.feed(OK + b"Content-Length: 4\r\n\r\n")
    await due
    assert set() == world.waiting
    flowing = asyncio.create_task(world.wire.flow(lambda _: later(), 60.0))
    await asyncio.sleep(0)
    assert {world.wire} == world.waiting
    world.feed(b"ab")
    await asyncio.sleep(0)
    assert set() == world.waiting, "it is the client that is waited for"
    may_go_on.set()
    world.feed(b"cd")
    await flowing

    assert set() == world.waiting


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n" * 20,
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * LARGEST_HEAD + b"\r\n\r\n",
        b"HTTP/1.1 200 " + b"a" * (LARGEST_HEAD + 1) + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"220 smtp.example ESMTP\r\n",
    ],
)
async def test_what_could_be_understood_in_two_ways_is_no_answer(answer: bytes) -> None:
    for at in (0, 1, 1000):
        world = World()
        due = world.ask()
        world.feed(answer, at)

        assert isinstance(due.exception(), BackendFailed)
        assert world.transport.is_aborted
        assert not world.wire.is_usable


async def test_endless_words_beside_a_body_end_it() -> None:
    for endless in (b"1;" + b"a" * 500, b"0\r\nX: " + b"a" * 500, b"0\r\n" + b"X: a\r\n" * 100):
        world = World()
        due = world.ask()
        world.feed(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        await due
        for _ in range(1 + LARGEST_HEAD // 500):
            if not world.transport.is_aborted:
                world.feed(endless)
                endless = endless[-498:]

        with pytest.raises(BackendBrokeOff):
            await world.flow()


@pytest.mark.parametrize("more", [b"x", b"HTTP/1.1 200 OK\r\n", WHOLE])
async def test_after_more_than_was_asked_for_a_connection_is_not_used_again(more: bytes) -> None:
    for is_at_once in (True, False):
        world = World()
        due = world.ask()
        world.feed(WHOLE + more if is_at_once else WHOLE)
        await due
        assert BODY == await world.flow()
        if not is_at_once:
            assert world.wire.is_usable
            world.feed(more)

        assert not world.wire.is_usable


async def test_a_connection_is_used_again_for_another_answer() -> None:
    world = World()
    for answer in (WHOLE, IN_CHUNKS, WHOLE):
        world.taken.clear()
        due = world.ask()
        world.feed(answer)
        await due
        assert BODY == await world.flow()
        assert world.wire.is_usable
    world.transport.unsent = 1
    assert not world.wire.is_usable, "what was asked is not sent as a whole"


@pytest.mark.parametrize("head", [b"Connection: close\r\n", b""])
async def test_where_the_backend_wants_to_end_it_a_connection_is_not_used_again(head: bytes) -> None:
    world = World()
    due = world.ask()
    version = b"1.1" if head else b"1.0"
    world.feed(b"HTTP/" + version + b" 200 OK\r\n" + head + b"Content-Length: 2\r\n\r\nok")
    await due

    assert b"ok" == await world.flow()
    assert not world.wire.is_usable


async def test_an_answer_to_head_is_over_with_its_head() -> None:
    world = World()
    due = world.ask(is_bodiless=True)
    world.feed(OK + b"Content-Length: 5\r\n\r\n")
    await due

    assert b"" == await world.flow()
    assert not world.wire.is_usable, "nobody could tell what comes next from a body"


async def test_a_lost_connection_is_told_of_and_asks_nothing_more() -> None:
    world = World()
    world.wire.connection_lost(None)

    assert [world.wire] == world.gone
    with pytest.raises(BackendFailed):
        await world.ask()
    with pytest.raises(BackendFailed):
        await world.wire.send(b"x")
    assert -1 == world.wire.fileno()


async def test_a_request_goes_on_once_the_backend_takes_it() -> None:
    world = World()
    world.ask()
    world.wire.pause_writing()
    sending = asyncio.create_task(world.wire.send(b"more"))
    await asyncio.sleep(0)
    assert not sending.done()
    world.wire.resume_writing()
    await sending

    assert world.transport.sent.endswith(b"more")


async def test_a_body_is_read_up_to_a_bound() -> None:
    world = World()
    due = world.ask()
    world.feed(WHOLE)
    await due

    assert BODY[:10] == await world.wire.read(10)
