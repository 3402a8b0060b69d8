import json

from tests.admin.cli.conftest import Type


def test_the_document_is_printed_for_machines_and_holds_nothing_but_ascii(type_in: Type) -> None:
    result = type_in("openapi")

    assert (0, "") == (result.exit_code, result.stderr)
    assert {"openapi": "3.1.0", "info": {"title": "L\u00fcge"}} == json.loads(result.stdout)
    assert result.stdout.isascii()
