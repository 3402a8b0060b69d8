from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from proxy.admin.desk import Desk
from proxy.admin.refusals import NotDone
from proxy.ledger import Mark, Part, Running, Wanted
from proxy.vocabulary import Entry
from tests.fakes.book import FakeBook
from tests.fakes.tools import ENTRY, NOON, a_desk


def desk(book: FakeBook | None = None) -> Desk:
    return a_desk(book=book)


async def test_the_newest_calls_are_told_of_one_user_or_of_all() -> None:
    book = FakeBook(*(replace(ENTRY, id=f"e{n}", user="bob" if n == 2 else "alice") for n in range(1, 5)))

    assert ["e3", "e4"] == [entry.id for entry in await desk(book=book).calls(2)]
    assert ["e2"] == [entry.id for entry in await desk(book=book).calls(2, "bob")]


async def take(entries: AsyncIterator[Entry], count: int) -> list[str]:
    taken = []
    async for entry in entries:
        taken.append(entry.id)
        if len(taken) == count:
            break
    return taken


async def test_calls_are_followed_from_the_newest_on() -> None:
    book = FakeBook(replace(ENTRY, id="e1"), replace(ENTRY, id="e2"))
    pauses = iter(("e3", "e4"))

    async def pause() -> None:
        await book.write([replace(ENTRY, id=next(pauses))])

    assert ["e2", "e3", "e4"] == await take(desk(book=book).follow(None, pause, last=1), 3)


async def test_following_one_user_leaves_out_the_others() -> None:
    book = FakeBook(ENTRY)
    pauses = iter(("bob 1", "alice 2", "bob 3"))

    async def pause() -> None:
        name = next(pauses)
        await book.write([replace(ENTRY, id=name, user=name.split()[0])])

    assert ["bob 1", "bob 3"] == await take(desk(book=book).follow("bob", pause), 2)


async def test_a_call_written_while_we_look_is_told_once() -> None:
    class Busy(FakeBook):
        async def last(self, count: int, *, user: str | None = None) -> list[Entry]:
            await self.write([replace(ENTRY, id="e2")])
            return await super().last(count, user=user)

    book = Busy(ENTRY)

    async def pause() -> None:
        await book.write([replace(ENTRY, id="e3")])

    assert ["e1", "e2", "e3"] == await take(desk(book=book).follow(None, pause, last=5), 3)


async def test_usage_is_summed_over_the_time_until_now() -> None:
    old = replace(ENTRY, id="e0", at=NOON - timedelta(days=8))
    here = desk(book=FakeBook(old, ENTRY))
    since = NOON - timedelta(days=7)

    assert [(("alice",), 2, 14)] == [
        (one.groups, one.calls, one.prompt_tokens) for one in await here.usage(Wanted(("user",)))
    ]
    assert [(("alice",), 1, 7)] == [
        (one.groups, one.calls, one.prompt_tokens) for one in await here.usage(Wanted(("user",), since))
    ]


async def test_usage_of_a_key_is_asked_by_its_id_or_by_all_of_it() -> None:
    here = desk(book=FakeBook(ENTRY, replace(ENTRY, id="e2", key_id="k2")))

    assert [1] == [one.calls for one in await here.usage(Wanted(key="k1"))]
    assert [1] == [one.calls for one in await here.usage(Wanted(key="sk-lg_k1_SECRET1_crc"))]


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (Wanted(("user", "moon")), "user, team, key, model, day, hour, endpoint, outcome"),
        (Wanted(time_zone="Mars/Base"), "'Mars/Base' is not a time zone"),
        (Wanted(since=NOON, until=NOON), "ends before it begins"),
    ],
)
async def test_usage_that_makes_no_sense_is_refused_with_what_does(wanted: Wanted, why: str) -> None:
    with pytest.raises(NotDone, match=why):
        await desk().usage(wanted)


async def peopled_book() -> FakeBook:
    """One call of Alice has ended a minute ago, one of Bob goes on."""
    began = NOON - timedelta(minutes=5)
    book = FakeBook()
    running = Running("r1", began, "POST /api/chat", user="bob")
    await book.write([replace(ENTRY, at=began, total_seconds=240.0)], Part("j", Mark(0, 1), [running]))
    return book


async def test_what_ran_at_some_time_is_told_of_one_user_or_of_all() -> None:
    here = desk(book=await peopled_book())
    then = NOON - timedelta(minutes=2)

    assert [["e1"], ["r1"]] == [[call.id for call in calls] for calls in await here.at(then)]
    assert [[], ["r1"]] == [[call.id for call in calls] for calls in await here.at(then, "bob")]


async def test_what_runs_now_is_told_of_one_user_or_of_all() -> None:
    here = desk(book=await peopled_book())

    assert ["r1"] == [call.id for call in await here.running()]
    assert [] == await here.running("alice")


async def test_what_will_run_nobody_can_tell() -> None:
    with pytest.raises(NotDone, match="not come yet"):
        await desk().at(NOON + timedelta(seconds=1))


async def test_entries_are_exported_of_a_time_or_of_all() -> None:
    here = desk(book=FakeBook(replace(ENTRY, id="e0", at=NOON - timedelta(days=8)), ENTRY))

    assert ["e0", "e1"] == [entry.id async for page in here.export() for entry in page]
    assert ["e0"] == [entry.id async for page in here.export(until=NOON) for entry in page]
    with pytest.raises(NotDone, match="ends before it begins"):
        here.export(NOON, NOON)


async def test_calls_of_a_name_that_is_no_text_are_refused() -> None:
    async def pause() -> None:
        raise AssertionError

    here, no_text = desk(), "\udcff"
    follow = here.follow(no_text, pause)

    for ask in (here.calls(1, no_text), here.at(NOON, no_text), here.running(no_text), anext(follow)):
        with pytest.raises(NotDone, match="not UTF-8"):
            await ask
