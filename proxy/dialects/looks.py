"""Whether a piece of a stream is one more word and nothing else, as nearly all are: told by a look, without reading it.

Within a text of JSON a quote stands behind a backslash, so that none of these marks can be a part of what a model says.
What a look is not sure of is read.
"""


def is_one_event(piece: bytes, begins: bytes) -> bool:
    """Whether it is one server-sent event as a whole, with one line of data, and so begins."""
    return piece.startswith(begins) and piece.endswith(b"}\n\n") and piece.find(b"\n", len(begins)) == len(piece) - 2


def is_one_line(piece: bytes) -> bool:
    """Whether it is one object on a line of its own."""
    return piece.startswith(b'{"') and piece.find(b"\n") == len(piece) - 1


def says_content(piece: bytes) -> bool:
    """Whether there are words in it, and neither counts nor an error."""
    return (
        b'"content":"' in piece and b'"content":""' not in piece and b'"usage"' not in piece and b'"error"' not in piece
    )


def says_more(line: bytes) -> bool:
    """Whether a line of Ollama's own has words in it and is not the last."""
    if b'"done":false' not in line or b'"done":true' in line or b'"error"' in line:
        return False
    if b'"content":"' in line:
        return b'"content":""' not in line
    return b'"response":"' in line and b'"response":""' not in line
