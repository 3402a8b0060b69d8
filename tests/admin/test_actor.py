import pytest

from proxy.admin.actor import LONGEST, Actor, here


@pytest.mark.parametrize(
    ("environment", "terminal", "actor"),
    [
        ({}, None, Actor("gate", "gatehouse")),
        ({}, "/dev/pts/3", Actor("gate", "gatehouse, pts/3")),
        ({"SUDO_USER": "olga"}, "/dev/pts/3", Actor("olga", "gatehouse, pts/3, as gate")),
        ({"SUDO_USER": "gate"}, None, Actor("gate", "gatehouse")),
        ({"SSH_CONNECTION": "192.0.2.7 50000 192.0.2.1 22"}, None, Actor("gate", "gatehouse, from 192.0.2.7")),
        ({"SSH_CONNECTION": "2001:db8::7 50000 ::1 22"}, None, Actor("gate", "gatehouse, from 2001:db8::7")),
        ({"SSH_CONNECTION": "anything else"}, None, Actor("gate", "gatehouse")),
        ({"SSH_CONNECTION": ""}, None, Actor("gate", "gatehouse")),
    ],
)
def test_who_runs_a_command_is_told_with_where_from(
    environment: dict[str, str], terminal: str | None, actor: Actor
) -> None:
    assert actor == here(environment, login="gate", host="gatehouse", terminal=terminal)


def test_what_nobody_knows_is_told_as_such() -> None:
    assert Actor("unknown", "unknown") == here({}, login="", host="")


def test_nothing_in_the_environment_can_steer_a_terminal_or_fill_the_trail() -> None:
    actor = here({"SUDO_USER": "o\x1b[2J\nlga" + "x" * 999}, login="gate", host="h\u202eost", terminal="/dev/\x9btty")

    assert actor.name.isprintable()
    assert actor.origin.isprintable()
    assert LONGEST == len(actor.name)
