from proxy.admin.office import Seen
from proxy.limits import Account, Claim, State
from proxy.limits.bucket import UNITS
from proxy.limits.memory import MemoryStore
from proxy.vocabulary import Level, Limits
from tests.fakes.tools import MOMENT, office

ALICE = Account(Level.USER, "alice", Limits(requests_per_minute=2))
BOB = Account(Level.USER, "bob", Limits(requests_per_minute=2))


async def test_an_office_over_a_store_looks_there_and_resets_there() -> None:
    store = MemoryStore(lambda: MOMENT)
    here = office(store)
    await store.reserve(Claim("c1", (BOB,)))

    assert Seen(MOMENT, (State(), State(requests=UNITS, concurrent=1))) == await here.look([ALICE, BOB])
    await here.reset([BOB])
    assert Seen(MOMENT, (State(concurrent=1),)) == await here.look([BOB])
    assert 1 == (await here.status()).under_way
