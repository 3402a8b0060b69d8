import inspect

from proxy.admin.desk import Desk
from proxy.admin.desk.clerk import Clerk


def test_no_two_clerks_answer_to_the_same_name() -> None:
    clerks = [one for one in Desk.__mro__ if issubclass(one, Clerk) and one not in (Desk, Clerk)]
    names = [name for one in clerks for name, _ in inspect.getmembers(one, inspect.isfunction) if name in vars(one)]

    assert [] == sorted(name for name in set(names) if names.count(name) > 1)
