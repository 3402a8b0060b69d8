"""A terminal to type at."""

from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from proxy.admin.cli.app import cli
from tests.fakes.tools import FakeTools

Type = Callable[..., Result]


@pytest.fixture
def tools() -> FakeTools:
    return FakeTools()


@pytest.fixture
def type_in(tools: FakeTools) -> Type:
    """Runs one command line; the tools behind it are the same for the whole test."""

    def run(*words: str) -> Result:
        return CliRunner().invoke(cli(), words, obj=tools)

    return run
