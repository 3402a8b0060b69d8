import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from proxy.late import late, load, parts_of, ready


def said(source: str) -> str:
    """By a process of its own: what it has loaded is nobody else's doing."""
    command = [sys.executable, "-c", textwrap.dedent(source)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_late_module_is_loaded_by_the_first_look_at_anything_in_it() -> None:
    told = said("""
        import sys
        from proxy.late import late
        colours = late("colorsys")
        print("colorsys" in sys.modules, colours)
        print(colours.rgb_to_hls(0, 0, 0), "colorsys" in sys.modules)
    """)

    assert "False <late module 'colorsys'>\n(0.0, 0.0, 0.0) True\n" == told


@pytest.mark.parametrize("how", ["load(colours)", "asyncio.run(ready(colours))"])
def test_a_late_module_can_be_had_before_it_is_needed(how: str) -> None:
    told = said(f"""
        import asyncio, sys
        from proxy.late import late, load, ready
        colours = late("colorsys")
        {how}
        print("colorsys" in sys.modules)
    """)

    assert "True\n" == told


async def test_what_does_not_exist_is_told_of_when_it_is_needed() -> None:
    nothing = late("proxy.nothing")

    with pytest.raises(ImportError, match=r"proxy\.nothing"):
        load(nothing)
    with pytest.raises(ImportError, match=r"proxy\.nothing"):
        await ready(nothing)
    with pytest.raises(ImportError, match=r"proxy\.nothing"):
        _ = nothing.attribute
    with pytest.raises(AttributeError, match="attribute"):
        _ = late("json").attribute


@pytest.fixture
def package(tmp_path: Path) -> str:
    """The beginning of a program that can import ``big``, which brings a lot along."""
    (tmp_path / "big").mkdir()
    (tmp_path / "big/__init__.py").write_text("from big.heavy import Heavy\nfrom big.light import Light\n")
    (tmp_path / "big/heavy.py").write_text("class Heavy: ...\n")
    (tmp_path / "big/light.py").write_text("class Light: ...\n")
    return f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from proxy.late import parts_of; parts_of('big')\n"


def test_parts_of_a_package_come_without_what_it_brings_along(package: str) -> None:
    told = said(
        package + "from big.light import Light\nfrom big import light\n"
        "print(light.Light is Light, 'big.heavy' in sys.modules)"
    )

    assert "True False\n" == told


def test_a_package_of_which_parts_are_loaded_is_whole_for_whoever_needs_it(package: str) -> None:
    told = said(
        package + "from big.light import Light\nimport big\nfrom big import Heavy\n"
        "print(big.Light is Light, Heavy is big.heavy.Heavy, hasattr(big, 'nonsense'), hasattr(big, '__nonsense__'))"
    )

    assert "True True False False\n" == told


@pytest.mark.parametrize("package", ["sys", "no_such_package"])
def test_a_package_that_is_loaded_or_that_nobody_has_cannot_come_in_parts(package: str) -> None:
    with pytest.raises(ImportError, match=package):
        parts_of(package)


@pytest.mark.parametrize(
    ("name", "part", "large", "rest"),
    [
        ("aiohttp", "web_response", "aiohttp.connector", "ClientSession"),
        ("sqlalchemy.ext.asyncio", "engine", "sqlalchemy.orm", "AsyncSession"),
    ],
)
def test_the_packages_that_come_in_parts_have_all_else_too(name: str, part: str, large: str, rest: str) -> None:
    told = said(f"""
        import sys
        from proxy.late import parts_of
        parts_of("{name}")
        from {name} import {part}
        print("{large}" in sys.modules)
        from {name} import {rest}
        print("{large}" in sys.modules, sys.modules["{name}"].{part} is {part})
    """)

    assert "False\nTrue True\n" == told


def test_something_can_be_loaded_as_if_another_were_not_installed() -> None:
    told = said("""
        import sys
        import json
        from proxy.late import without
        with without("json"):
            try:
                import json as other
            except ImportError:
                other = None
        print(other, sys.modules["json"] is json)
        with without("colorsys"):
            pass
        import colorsys
        print(colorsys.__name__)
    """)

    assert "None True\ncolorsys\n" == told
