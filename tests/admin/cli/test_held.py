import inspect
from operator import attrgetter

import pytest

from proxy.admin.cli import certificates, identities
from proxy.admin.cli.app import of_held
from proxy.admin.cli.held import Held

KINDS = [certificates.HELD, identities.HELD]


@pytest.mark.parametrize("module", [certificates, identities])
def test_each_kind_has_the_same_commands_and_each_says_what_it_does(module: object) -> None:
    commands = of_held(module)

    assert ["list", "show", "update", "suspend", "resume", "revoke"] == [name for name, _, _ in commands]
    assert all(inspect.getdoc(attrgetter(function)(module)) for _, _, function in commands)


@pytest.mark.parametrize("kind", KINDS)
def test_where_there_is_none_its_first_command_is_told(kind: Held) -> None:
    assert " add --user alice " in kind.none_yet
