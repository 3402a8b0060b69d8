"""Forms read so strictly that every other reader finds the same parts in them (RFC 7578, RFC 2046).

What is read is written anew before it is sent, so the caller's own bytes never have to be read alike twice; still
nothing passes that Go would decode, merge or overlook. Bytes in, parts out.
"""

import re

from proxy.errors import NotUnderstood
from proxy.vocabulary import BOUNDARY, Part

MOST_PARTS = 16
LONGEST_HEAD = 8 * 1024
"""Bytes of one part's header."""
LONGEST_FILENAME = 1000

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,127}"
_PARAMETER = rf'[ \t]*;[ \t]*({_WORD})=(?:({_WORD})|"([^"\\\x00-\x1f\x7f-\x9f]*)")'
_one_parameter = re.compile(_PARAMETER)
_value = re.compile(rf"({_WORD}(?:/{_WORD})?)((?:{_PARAMETER})*)")
_line = re.compile(rf"({_WORD}):[ \t]*([^\x00-\x1f\x7f-\x9f]*)")
_boundary = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_name = re.compile(r"[0-9A-Za-z_.\-]{1,64}(?:\[\])?")
_CHARSETS = frozenset({"utf-8", "us-ascii"})
_OURS = BOUNDARY.encode()


def parse(body: bytes, content_type: str, *, known: frozenset[str], files: frozenset[str]) -> tuple[Part, ...]:
    """The parts of the form, in order.

    ``known`` are the names that the server looks for: any other spelling of one is refused, and so is a name that comes
    twice, unless it ends in ``[]``, which says that it is a list. ``files`` are the names whose parts must have a
    filename; no other part may. Whatever ``parse`` gives, ``form_of`` writes so that it is read the same again.
    Raises NotUnderstood; its message quotes nothing.
    """
    delimiter = b"\r\n--" + _boundary_of(content_type)
    if not body.startswith(delimiter[2:]):
        raise NotUnderstood("The form does not begin with its boundary.")
    parts: list[Part] = []
    at = len(delimiter) - 2
    while not body.startswith(b"--", at):
        if not body.startswith(b"\r\n", at):
            raise NotUnderstood("A boundary of the form is not alone on its line.")
        if len(parts) == MOST_PARTS:
            raise NotUnderstood(f"The form has more than {MOST_PARTS} parts.")
        head_end = body.find(b"\r\n\r\n", at, at + LONGEST_HEAD + 6)
        end = body.find(delimiter, at)
        if end < 0:
            raise NotUnderstood("The form does not end with its boundary.")
        if not 0 <= head_end <= end - 4:
            raise NotUnderstood("A part of the form has no header, or one that is too long.")
        parts.append(_part(body[at + 2 : head_end], body[head_end + 4 : end], files))
        at = end + len(delimiter)
    if body[at + 2 : at + 5] not in (b"", b"\r\n"):
        raise NotUnderstood("The form goes on after its last boundary.")
    _told_apart([part.name for part in parts], known)
    return tuple(parts)


def _boundary_of(content_type: str) -> bytes:
    kind, parameters = _read(content_type)
    boundary = parameters.pop("boundary", "")
    if kind != "multipart/form-data" or not _boundary.fullmatch(boundary):
        raise NotUnderstood("The request must be multipart/form-data and name its boundary.")
    _only_utf_8(parameters)
    return boundary.encode()


def _part(head: bytes, data: bytes, files: frozenset[str]) -> Part:
    fields = _fields(head)
    kind, told = _read(fields.get("content-disposition", ""))
    name, filename = told.pop("name", ""), told.pop("filename", None)
    if kind != "form-data" or told or not _name.fullmatch(name) or name == "_charset_":
        # Among others ``filename*`` and ``name*0``, which Go puts in the place of the plain ones.
        raise NotUnderstood("A part of the form must say 'form-data', a plain name, at most a filename, and no more.")
    if (filename is not None) != (name in files):
        raise NotUnderstood("A field of the form that is a file must have a filename, and no other may.", param=name)
    if filename is not None and not 1 <= len(filename) <= LONGEST_FILENAME:
        raise NotUnderstood("A filename of the form is empty or too long.", param=name)
    if filename is None and not _is_utf_8(data):
        raise NotUnderstood("A field of the form is not UTF-8.", param=name)
    if _OURS in data:
        raise NotUnderstood("A part of the form holds the boundary that it would be sent with.", param=name)
    return Part(name, data, filename, _content_type(fields.get("content-type")))


def _fields(head: bytes) -> dict[str, str]:
    try:
        lines = head.decode("utf-8").split("\r\n")
    except UnicodeDecodeError as error:
        raise NotUnderstood("A part of the form has a header that is not UTF-8.") from error
    fields: dict[str, str] = {}
    for line in lines:
        match = _line.fullmatch(line)
        name = match[1].lower() if match else ""
        # Ollama undoes a Content-Transfer-Encoding, so a name in one would be read otherwise than it was checked.
        # A length is what Java's clients add; it is neither believed nor sent.
        if not match or name not in ("content-disposition", "content-type", "content-length") or name in fields:
            raise NotUnderstood("A part of the form has a header field that is malformed, twice there or not accepted.")
        fields[name] = match[2].rstrip(" \t")
    return fields


def _content_type(value: str | None) -> str | None:
    if value is None:
        return None
    kind, parameters = _read(value)
    if "/" not in kind or kind.startswith(("multipart/", "message/")):
        raise NotUnderstood("A part of the form has a content type that is not accepted.")
    parameters.pop("codecs", None)  # What browsers tell of a recording (RFC 6381).
    _only_utf_8(parameters)
    return kind


def _read(value: str) -> tuple[str, dict[str, str]]:
    """A header's value, in lower case, and its parameters."""
    match = _value.fullmatch(value)
    if not match:
        raise NotUnderstood("A header field of the form is malformed.")
    found = [(name.lower(), token or quoted) for name, token, quoted in _one_parameter.findall(match[2])]
    parameters = dict(found)
    if len(parameters) != len(found):
        raise NotUnderstood("A header field of the form has a parameter twice.")
    return match[1].lower(), parameters


def _only_utf_8(parameters: dict[str, str]) -> None:
    if parameters.keys() - {"charset"} or parameters.get("charset", "utf-8").lower() not in _CHARSETS:
        raise NotUnderstood("A content type of the form has parameters that are not accepted.")


def _is_utf_8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _told_apart(names: list[str], known: frozenset[str]) -> None:
    once = [name for name in names if not name.endswith("[]")]
    if len(once) != len(set(once)):
        raise NotUnderstood("The form has the same field twice.")
    if any(name not in known and name.casefold() in known for name in names):
        raise NotUnderstood("A field of the form is spelled with other letters than its name has.")
