from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from proxy.admin.desk import Desk, NoSuchKey, NotDone
from proxy.vocabulary import Entry, Plan
from tests.fakes.book import FakeBook
from tests.fakes.keys import FakeKeys
from tests.fakes.tools import ENTRY, NOON, minter, no_shouting


def desk(keys: FakeKeys | None = None, book: FakeBook | None = None) -> Desk:
    plans = {"default": Plan("default"), "lab": Plan("lab")}
    return Desk(keys or FakeKeys(), book or FakeBook(), plans, minter(), lambda: NOON, no_shouting)


async def test_a_key_is_issued_and_put_on_record_without_its_text() -> None:
    keys = FakeKeys()
    issued = await desk(keys).create_key("alice", "red", "lab", ("Gemma3", "gemma3"), timedelta(days=90), "laptop")
    key = await keys.find("k1")

    assert "sk-lg_k1_SECRET1_crc" == issued.secret
    assert key == issued.key
    assert key is not None
    assert ("alice", "red", "lab", ("gemma3",), "laptop") == (key.user, key.team, key.plan, key.models, key.note)
    assert (NOON, NOON + timedelta(days=90)) == (key.created_at, key.expires_at)
    assert b"\x01" * 32 == key.digest
    assert "SECRET" not in repr(issued)


async def test_a_key_lives_for_ever_and_may_all_of_its_plan_unless_told_otherwise() -> None:
    key = (await desk().create_key(" alice ")).key

    assert ("alice", "default", None, None, None) == (key.user, key.plan, key.team, key.models, key.expires_at)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\x1b[2J", "a" * 129, "a\u202eb", "\udc80"])
@pytest.mark.parametrize("what", ["user", "team", "note"])
async def test_a_name_that_cannot_be_printed_is_refused(what: str, name: str) -> None:
    keys = FakeKeys()
    names: dict[str, Any] = {"user": "alice", what: name}
    with pytest.raises(NotDone, match=f"The {what} has to be"):
        await desk(keys).create_key(**names)

    assert [] == await keys.all()


async def test_a_plan_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(NotDone, match="There are: default, lab"):
        await desk().create_key("alice", plan="gold")


@pytest.mark.parametrize("models", [(), ("ok", "no!")])
async def test_models_that_make_no_sense_are_refused(models: tuple[str, ...]) -> None:
    with pytest.raises(NotDone):
        await desk().create_key("alice", models=models)


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(days=-1)])
async def test_a_key_that_was_never_alive_is_refused(lifetime: timedelta) -> None:
    with pytest.raises(NotDone):
        await desk().create_key("alice", lifetime=lifetime)


@pytest.mark.parametrize("shown", ["k1", " k1\n", "sk-lg_k1_SECRET1_crc", "sk-lg_k1_SEC_RET_crc"])
async def test_a_key_is_found_by_its_id_or_by_all_of_it(shown: str) -> None:
    here = desk()
    issued = await here.create_key("alice")

    assert issued.key == await here.key(shown)


async def test_a_key_that_is_not_there_is_told_by_its_id() -> None:
    with pytest.raises(NoSuchKey, match="There is no key k9"):
        await desk().key("k9")
    with pytest.raises(NoSuchKey, match="There is no key k9"):
        await desk().revoke("k9")


@pytest.mark.parametrize("shown", ["sk-lg_k9_HUSH_crc", "sk-lg-k9-HUSHHUSHHUSHHUSHHUSHHUSH", "HUSH" * 20, "\x1bHUSH"])
async def test_a_key_that_is_not_there_is_not_repeated(shown: str) -> None:
    with pytest.raises(NoSuchKey) as refused:
        await desk().key(shown)

    assert "HUSH" not in refused.value.message


async def test_a_key_is_revoked() -> None:
    here = desk()
    await here.create_key("alice")

    assert NOON == (await here.revoke("sk-lg_k1_SECRET1_crc")).revoked_at
    assert ["revoked"] == [key.state(NOON) for key in await here.keys()]


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

    assert [("alice", 2, 14)] == [(s.group, s.calls, s.prompt_tokens) for s in await here.usage("user")]
    assert [("alice", 1, 7)] == [
        (s.group, s.calls, s.prompt_tokens) for s in await here.usage("user", timedelta(days=7))
    ]


async def test_usage_by_anything_else_is_refused_with_what_there_is() -> None:
    with pytest.raises(NotDone, match="user, team, key, model, day, endpoint"):
        await desk().usage("moon")
