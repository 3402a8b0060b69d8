import inspect

import pytest

from proxy.admin.cli import certificates, identities
from proxy.admin.cli.app import of_held
from proxy.admin.cli.held import Held

KINDS = [certificates.HELD, identities.HELD]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_the_same_commands_and_each_says_what_it_does(kind: Held) -> None:
    commands = of_held(kind)

    assert ["list", "show", "update", "suspend", "resume", "revoke"] == [name for name, _ in commands]
    assert all(inspect.getdoc(command) for _, command in commands)


@pytest.mark.parametrize("kind", KINDS)
def test_where_there_is_none_its_first_command_is_told(kind: Held) -> None:
    assert " add --user alice " in kind.none_yet
