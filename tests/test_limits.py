from proxy.limits import Unlimited
from proxy.policy.endpoints import find
from proxy.vocabulary import Ask, Caller, Plan, Usage


async def test_without_limits_everybody_is_let_in_at_once_however_much_it_costs() -> None:
    limits = Unlimited()
    caller, ask = Caller("alice", "k1", Plan("default")), Ask(find("POST", "/api/chat")[0])
    async with limits.admit(caller, ask) as first, limits.admit(caller, ask) as second:
        first.settle(Usage(10**9, 10**9))
        second.settle(Usage())
