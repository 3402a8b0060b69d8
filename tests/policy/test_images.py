import json

import pytest

from proxy.errors import KnobRefused
from proxy.policy.images import sizes
from proxy.vocabulary import Tongue

THREE = "AAAA"
"""Three bytes, as base64."""


def found(tongue: Tongue, **fields: object) -> list[int]:
    return sizes(tongue, {name: json.dumps(value).encode() for name, value in fields.items()})


def url(text: str) -> dict[str, object]:
    return {"type": "image_url", "image_url": {"url": text}}


@pytest.mark.parametrize(
    ("expected", "tongue", "fields"),
    [
        ([], Tongue.OLLAMA, {"prompt": "an image"}),
        ([3, 2, 1], Tongue.OLLAMA, {"images": [THREE, "AAA=", "AA=="]}),
        ([2], Tongue.OLLAMA, {"images": [[255, 216]]}),
        ([], Tongue.OLLAMA, {"images": None}),
        ([3, 3], Tongue.OLLAMA, {"messages": [{"role": "user", "images": [THREE]}, {"images": [THREE]}]}),
        ([3], Tongue.OLLAMA, {"messages": [{"Image\u017f": [THREE]}]}),
        ([3], Tongue.OPENAI, {"messages": [{"content": [url(f"data:image/png;base64,{THREE}")]}]}),
        ([3], Tongue.OPENAI, {"messages": [{"content": [{"type": "image_url", "image_url": f"data:,{THREE}"}]}]}),
        ([3], Tongue.OPENAI, {"messages": [{"content": [{"type": "input_audio", "input_audio": {"data": THREE}}]}]}),
        ([], Tongue.OPENAI, {"messages": [{"content": "an image at https://example.org"}]}),
        ([3], Tongue.RESPONSES, {"input": [{"content": [{"type": "input_image", "image_url": f"data:,{THREE}"}]}]}),
        ([3], Tongue.RESPONSES, {"input": [{"output": [{"type": "input_image", "image_url": f"data:,{THREE}"}]}]}),
        ([], Tongue.RESPONSES, {"input": "an image"}),
        (
            [3, 3],
            Tongue.ANTHROPIC,
            {
                "messages": [
                    {"content": [{"type": "image", "source": {"type": "base64", "data": THREE}}]},
                    {
                        "content": [
                            {
                                "type": "tool_result",
                                "content": [{"type": "image", "source": {"type": "base64", "data": THREE}}],
                            }
                        ]
                    },
                ]
            },
        ),
        (
            [],
            Tongue.ANTHROPIC,
            {"messages": [{"content": [{"type": "tool_use", "input": {"type": "image", "source": {"type": "url"}}}]}]},
        ),
    ],
)
def test_every_image_is_found_with_its_size(expected: list[int], tongue: Tongue, fields: dict[str, object]) -> None:
    assert expected == found(tongue, **fields)


def test_a_name_behind_escapes_is_found() -> None:
    assert [3] == sizes(Tongue.OLLAMA, {"messages": rb'[{"\u0069\u006dages":["AAAA"]}]'})


@pytest.mark.parametrize(
    ("tongue", "fields"),
    [
        (Tongue.OPENAI, {"messages": [{"content": [url("https://example.org/a.png")]}]}),
        (Tongue.OPENAI, {"messages": [{"content": [url("file:///etc/passwd")]}]}),
        (Tongue.OPENAI, {"messages": [{"content": [{"image_url": "http://127.0.0.1"}]}]}),
        (Tongue.RESPONSES, {"input": [{"content": [{"type": "input_image", "image_url": "https://example.org"}]}]}),
        (Tongue.ANTHROPIC, {"messages": [{"content": [{"type": "image", "source": {"type": "url", "url": "x"}}]}]}),
        (
            Tongue.ANTHROPIC,
            {"messages": [{"content": [{"type": "image", "source": {"type": "file", "file_id": "x"}}]}]},
        ),
    ],
)
def test_an_image_that_would_have_to_be_fetched_is_refused(tongue: Tongue, fields: dict[str, object]) -> None:
    with pytest.raises(KnobRefused, match="data: URL") as refused:
        found(tongue, **fields)

    assert refused.value.param == next(iter(fields))
