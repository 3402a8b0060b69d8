import pytest

from proxy.admin.cli import signs


@pytest.mark.parametrize(
    ("share", "fine", "plain"),
    [
        (0.0, "", ""),
        (1e-9, "▏", "#"),
        (0.06, "▋", "#"),
        (0.5, "█████", "#####"),
        (0.51, "█████▏", "######"),
        (1.0, "██████████", "##########"),
    ],
)
def test_a_bar_is_as_long_as_its_share_and_never_nothing_for_something(share: float, fine: str, plain: str) -> None:
    assert (fine, plain) == (signs.bar(share, fine=True), signs.bar(share, fine=False))


def test_at_least_is_said_in_any_encoding() -> None:
    assert ("≥5", ">=5") == (signs.at_least("5", fine=True), signs.at_least("5", fine=False))
