import pytest

from proxy.doctor.files import File, Kind, findings
from tests.doctor.shown import shown


@pytest.mark.parametrize(
    ("kind", "mode", "severity"),
    [
        (Kind.STATE, 0o700, "ok"),
        (Kind.STATE, 0o755, "warning"),
        (Kind.STATE, 0o770, "critical"),
        (Kind.JOURNAL, 0o755, "warning"),
        (Kind.CONFIG, 0o644, "ok"),
        (Kind.CONFIG, 0o664, "critical"),
        (Kind.CONFIG_WITH_SECRETS, 0o644, "critical"),
        (Kind.CONFIG_WITH_SECRETS, 0o600, "ok"),
        (Kind.PEPPER, 0o640, "critical"),
        (Kind.DATABASE, 0o644, "critical"),
        (Kind.HIDDEN, 0o604, "critical"),
        (Kind.KEY, 0o644, "critical"),
        (Kind.KEY, 0o400, "ok"),
    ],
)
def test_what_others_may_read_or_change_is_told(kind: Kind, mode: int, severity: str) -> None:
    assert {"file.mode": severity} == shown(findings([File("/there", kind, mode)]))


def test_the_cure_is_a_command_with_the_file_as_a_shell_takes_it() -> None:
    told = [
        *findings([File("/a b/pepper", Kind.PEPPER, 0o644)]),
        *findings([File("/s", Kind.STATE, 0o777)]),
        *findings([File("/c", Kind.CONFIG, 0o666)]),
    ]

    assert ["chmod 600 '/a b/pepper'", "chmod 700 /s", "chmod go-w /c"] == [one.cure for one in told]
    assert "mode 0644" in told[0].what


def test_what_a_container_cannot_change_is_mended_where_it_comes_from() -> None:
    """As the configuration of a clone that was made with a umask of 002, in compose."""
    (told,) = findings([File("/etc/llamagate/llamagate.toml", Kind.CONFIG, 0o664, is_read_only=True)])

    assert ("critical", "chmod go-w /etc/llamagate/llamagate.toml, where it is mounted from") == (
        told.severity,
        told.cure,
    )


def test_what_is_not_there_is_not_counted_and_what_a_container_gives_is_left_to_it() -> None:
    files = [
        File("/none", Kind.PEPPER, None),
        File("/run/secrets/pepper", Kind.HIDDEN, 0o644, is_given=True),
        File("/state", Kind.STATE, 0o700),
    ]

    assert ["2 files and folders are nobody else's to read or to change."] == [one.what for one in findings(files)]
    assert [] == list(findings(files[:1]))


def test_what_cannot_be_looked_at_is_told() -> None:
    assert {"file.unreadable": "info"} == shown(findings([File("/x", Kind.PEPPER, None, "permission denied")]))
