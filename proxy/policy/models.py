"""When two names mean one model, and which names a pattern covers. Nothing in this module does I/O.

Ollama accepts many spellings of one model (case, default host, namespace and tag, a ``:local`` suffix); an allow-list
that compares text is no list at all. Everything is compared by its canonical name: four parts, lower-case.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache

LONGEST = 512
DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG = "registry.ollama.ai", "library", "latest"
CLOUD = ":cloud"

# Go's unicode.IsSpace, which differs from Python's str.strip() at U+001C to U+001F.
SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}")
NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
MODEL = TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


@dataclass(frozen=True, slots=True)
class Name:
    """A model's canonical name: lower-case, nothing left out."""

    host: str
    namespace: str
    model: str
    tag: str
    cloud: bool = False
    """Ollama would answer it on ollama.com, whether or not anything of that name is installed."""
    spelling: str = field(default="", compare=False)
    """The same name in the shortest form and the caller's own case, which is all that may differ: safe to send."""

    def __str__(self) -> str:
        """The shortest form, as Ollama lists it; always with its tag, so that nothing is left to be guessed."""
        return _shortest(self.host, self.namespace, self.model, self.tag, cloud=self.cloud)


class BadName(ValueError):
    """The text names no model, in any spelling."""


@lru_cache(4096)
def canonical(text: str) -> Name:
    """The model that Ollama would understand by this text. Raises BadName.

    Schemes (``https://…``), which Ollama ignores unseen up to the first ``://``, are refused: no client needs them, and
    whatever stands before one could be made to look like another model.
    """
    if len(text) > LONGEST:
        raise BadName("longer than 512 characters")
    rest, cloud = _without_source(text.strip(SPACE))
    path, tag = rest, DEFAULT_TAG
    if rest.rfind(":") > rest.rfind("/"):
        path, _, tag = rest.rpartition(":")
    parts = path.split("/")
    if len(parts) > 3:
        raise BadName("a model name has at most three parts")
    host, namespace, model = [DEFAULT_HOST, DEFAULT_NAMESPACE][: 3 - len(parts)] + parts
    shapes = HOST.fullmatch(host), NAMESPACE.fullmatch(namespace), MODEL.fullmatch(model), TAG.fullmatch(tag)
    if not all(shapes):
        raise BadName("not a model name")
    spelling = _shortest(host, namespace, model, tag, cloud=cloud)
    if len(spelling) > LONGEST:  # With the tag that was left out.
        raise BadName("longer than 512 characters")
    return Name(host.lower(), namespace.lower(), model.lower(), tag.lower(), cloud, spelling)


def _shortest(host: str, namespace: str, model: str, tag: str, *, cloud: bool) -> str:
    prefix = f"{host}/{namespace}/"
    if host.lower() == DEFAULT_HOST:
        prefix = "" if namespace.lower() == DEFAULT_NAMESPACE else f"{namespace}/"
    return f"{prefix}{model}:{tag}{CLOUD if cloud else ''}"


def _without_source(text: str) -> tuple[str, bool]:
    """Take off ``:local``, ``:cloud`` or ``-cloud`` as Ollama does: after the last colon, blind to case and space."""
    rest, cloud = _one_source(text)
    if rest != text and _one_source(rest)[0] != rest:
        raise BadName("use either :local or :cloud, and only once")
    return rest, cloud


def _one_source(text: str) -> tuple[str, bool]:
    head, colon, tail = text.rpartition(":")
    source = tail.strip(SPACE)
    if colon and source.lower() in ("cloud", "local"):
        return head, source.lower() == "cloud"
    if colon and "/" not in source and source.lower().endswith("-cloud"):
        return f"{head}:{source[: -len('-cloud')]}", True
    return text, False


@lru_cache(1024)
def canonical_pattern(text: str) -> str:
    """A pattern in the one form in which it is compared: ``host/namespace/model:tag`` with ``*`` in any part.

    ``*`` alone is every model; ``llama3.2`` is ``llama3.2:latest`` as it is for Ollama; ``llama3.2:*`` every tag;
    ``hf.co/*`` everything from there. Whoever writes ``gpt-oss:120b-cloud`` or ``gpt-oss:120b:cloud``, as lists say it,
    means what Ollama would answer on ollama.com and nothing else; in the one form ``:cloud`` stands at the end of it.
    Raises ValueError with what is wrong.
    """
    text = text.strip(SPACE).lower()
    if text == "*":
        return "*/*/*:*"
    if not re.fullmatch(r"[a-z0-9_.:/*-]+", text):
        raise ValueError(f"{text!r} is not a model name in which * stands for any characters")
    rest, cloud = _without_source(text)
    path, tag = rest, DEFAULT_TAG
    if rest.rfind(":") > rest.rfind("/"):
        path, _, tag = rest.rpartition(":")
    elif path.endswith("*"):
        tag = "*"  # Whoever wrote `llama3*` or `hf.co/*` did not mean only `latest`.
    parts = path.split("/")
    if len(parts) == 2 and {".", ":"} & set(parts[0]) and parts[1] == "*":
        parts = [parts[0], "*", "*"]  # A namespace has no dot and no colon, so this is a host.
    if len(parts) > 3 or not all(parts) or not tag:
        raise ValueError(f"{text!r} is not of the form [host/][namespace/]model[:tag]")
    host, namespace, model = [DEFAULT_HOST, DEFAULT_NAMESPACE][: 3 - len(parts)] + parts
    return f"{host}/{namespace}/{model}:{tag}{CLOUD if cloud else ''}"


def both(plan: tuple[str, ...], key: tuple[str, ...] | None) -> tuple[str, ...]:
    """The patterns that a plan and a key of it, which may narrow it, have in common, in canonical form.

    Of two patterns the narrower one is told; of two that may overlap the key's own, which is then too wide.
    """
    plans = tuple(dict.fromkeys(map(canonical_pattern, plan)))
    common: list[str] = list(plans) if key is None else []
    for own in map(canonical_pattern, key or ()):
        if any(_holds(one, own) for one in plans):
            common.append(own)
            continue
        narrower = [one for one in plans if _holds(own, one)]
        common += narrower or ([own] if "*" in own else [])
    return tuple(dict.fromkeys(common))


def shortest(pattern: str) -> str:
    """A pattern as people write it: ``gemma3:*`` for ``registry.ollama.ai/library/gemma3:*``."""
    whole = canonical_pattern(pattern)
    if whole == canonical_pattern("*"):
        return "*"
    path, _, tag = whole.removesuffix(CLOUD).rpartition(":")
    host, namespace, model = path.split("/")
    short = _shortest(host, namespace, model, tag, cloud=whole.endswith(CLOUD))
    return short if canonical_pattern(short) == whole else whole


def _holds(wider: str, pattern: str) -> bool:
    """Whether it covers every name that the pattern does: what stands for anything must itself be covered so."""
    return _matches(wider, pattern.removesuffix(CLOUD), cloud=pattern.endswith(CLOUD))


def covered(name: Name, patterns: tuple[str, ...]) -> bool:
    """Whether one of the patterns, in any spelling, covers this name."""
    whole = f"{name.host}/{name.namespace}/{name.model}:{name.tag}"
    return any(_matches(pattern, whole, cloud=name.cloud) for pattern in patterns)


def _matches(pattern: str, whole: str, *, cloud: bool) -> bool:
    expression, is_of_cloud = _matcher(pattern)
    return (cloud or not is_of_cloud) and expression.fullmatch(whole) is not None


@lru_cache(1024)
def _matcher(pattern: str) -> tuple[re.Pattern[str], bool]:
    """What a name without its ``:cloud`` has to look like, and whether it has to have one."""
    whole = canonical_pattern(pattern)
    path, _, tag = whole.removesuffix(CLOUD).rpartition(":")
    return re.compile(f"{'/'.join(map(_expression, path.split('/')))}:{_expression(tag)}"), whole.endswith(CLOUD)


def _expression(part: str) -> str:
    """What a part matches. What stands between two stars is looked for once, where it comes first: no other place could
    be better, and to try them all would take longer than anybody lives.
    """
    first, *rest = map(re.escape, part.split("*"))
    between = "".join(f"(?>[^/]*?{one})" for one in rest[:-1] if one)
    return f"{first}{between}[^/]*{rest[-1]}" if rest else first
