from dataclasses import replace
from typing import Any

import pytest

from proxy.doctor.ollama import Ollama, findings
from tests.doctor.shown import shown

GOOD = Ollama(
    "http://127.0.0.1:11434",
    version="0.33.0",
    asked_at=("192.168.1.5:11434",),
    foreign_host=403,
    foreign_origin=403,
    cloud_disabled=True,
)


def test_of_a_good_one_nothing_bad_is_told() -> None:
    assert {
        "ollama.reachable": "ok",
        "ollama.version": "ok",
        "ollama.holes": "info",
        "ollama.host": "ok",
        "ollama.origin": "ok",
        "ollama.cloud": "ok",
        "ollama.exposed": "ok",
    } == shown(findings(GOOD, wants_cloud=False))


def test_the_cure_for_an_old_one_names_another_image_since_ours_is_pinned() -> None:
    (told,) = (
        one for one in findings(replace(GOOD, version="0.17.0"), wants_cloud=False) if one.id == "ollama.version"
    )

    assert "OLLAMA_IMAGE=ollama/ollama:" in told.cure
    assert "compose pull" not in told.cure


@pytest.mark.parametrize(
    ("facts", "id", "severity"),
    [
        ({"failure": "nobody listens there"}, "ollama.reachable", "critical"),
        ({"version": "0.17.0"}, "ollama.version", "critical"),
        ({"version": "0.0.0"}, "ollama.version", "info"),
        ({"foreign_host": 200}, "ollama.host", "warning"),
        ({"foreign_host": 200, "is_here": False}, "ollama.host", "info"),
        ({"foreign_origin": 200}, "ollama.origin", "warning"),
        ({"cloud_disabled": False, "signed_in": False}, "ollama.cloud", "info"),
        ({"cloud_disabled": False, "signed_in": None}, "ollama.cloud", "info"),
        ({"cloud_disabled": None}, "ollama.cloud", "info"),
        ({"cloud_disabled": False, "signed_in": True}, "ollama.cloud", "warning"),
        ({"answers_at": ("192.168.1.5:11434",)}, "ollama.exposed", "critical"),
        ({"is_here": False}, "ollama.exposed", "info"),
        ({"asked_at": ()}, "ollama.exposed", "info"),
    ],
)
def test_whatever_is_wrong_is_told_as_badly_as_it_is(facts: dict[str, Any], id: str, severity: str) -> None:
    assert severity == shown(findings(replace(GOOD, **facts), wants_cloud=False))[id]


def test_that_it_is_signed_in_is_no_warning_where_a_plan_wants_it() -> None:
    signed_in = replace(GOOD, cloud_disabled=False, signed_in=True)

    assert "info" == shown(findings(signed_in, wants_cloud=True))["ollama.cloud"]


def test_known_holes_are_told_by_their_numbers_and_the_version_that_closes_all() -> None:
    (told,) = [
        one for one in findings(replace(GOOD, version="0.1.40"), wants_cloud=False) if one.id == "ollama.version"
    ]

    assert all(cve in told.what for cve in ("CVE-2024-39722", "CVE-2024-45436", "CVE-2026-7482"))
    assert "CVE-2024-37032" not in told.what
    assert "0.17.1 or newer" in told.cure
