"""What can an ask cost at the most? Nothing in this module does I/O.

It is set aside before the call and settled by the truth afterwards. So it has to be enough for nearly all calls, and
not so much that who has few tokens never gets in. A call may cost more: a token has a byte at the least, so a text that
is dense in tokens goes beyond by two thirds of its bytes and no more. A template that repeats itself, an answer that
nothing limits and a search that asks the model again go as far as the model's context does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from proxy.policy import members, models
from proxy.policy.knobs import ENDLESS
from proxy.policy.models import Name
from proxy.vocabulary import Ask, Caller, Tongue, UsageIn

BYTES_PER_TOKEN = 3
"""English has about four, code three, and JSON spends some on itself."""
TEMPLATE = 32
"""Tokens around a prompt that are not in the body. Those around each message are paid for by the JSON around it."""

PICTURE = 1600
"""Tokens of a picture or sound at the least. Of a picture Gemma 3 makes 256, Gemma 4 at most 280, LLaVA 576, Llama 3.2
Vision 1,601 a tile; Mistral Small 3.1 makes 3,080 of one that is large."""
BYTES_PER_ATTACHED_TOKEN = 1280
"""For what is larger. Of a sound Gemma 4 makes a token in 40 ms, which in WAV at 16 kHz and 16 bits are 1,280 bytes;
a picture of 4 MB makes about as many here as Mistral's largest."""

TOKENS_PER_SECOND = 25 + 5
"""Of speech that is written down: Gemma 4 hears 25, and who speaks fast says three words, which are up to five."""
SAMPLES_PER_SECOND = 32_000
"""Bytes of WAV, FLAC and AIFF: 16 kHz, 16 bits, one channel. That is what models hear, and speech is mostly sent in."""
COMPRESSED_PER_SECOND = 4_000
"""Bytes of MP3 at 32 kbit/s, below which speech is hard to follow."""
SAMPLES = (b"RIFF", b"fLaC", b"FORM")

MOST_TOKENS = 10**9
"""No call costs more, whatever it says."""

LIMITS: Mapping[Tongue, str] = {
    Tongue.OLLAMA: "num_predict",
    Tongue.OPENAI: "max_tokens",
    Tongue.RESPONSES: "max_output_tokens",
    Tongue.ANTHROPIC: "max_tokens",
}
"""Under which name each tongue is told how long an answer may get; in Ollama's it is one of the ``options``."""


def reckoned(ask: Ask, attached: Sequence[int] = ()) -> Ask:
    """The ask, as it will be sent, with the most that it is taken to cost; ``attached`` as ``images`` finds it.

    Its floor is no higher than that: what is known by now to be a picture was text for who first looked at it.
    """
    prompt = prompt_tokens(ask, attached)
    floor, most = bounds(ask, ask.fields, prompt)
    if not most:
        return replace(ask, prompt_floor=0) if ask.prompt_floor else ask
    return replace(ask, prompt_floor=floor, prompt_most=prompt, most_tokens=most)


def bounds(ask: Ask, fields: Mapping[str, bytes], prompt: int) -> tuple[int, int]:
    """The least that the prompt and the most that all of it is taken to cost, with these members of its body; 0 and 0
    where it costs no tokens.
    """
    if ask.endpoint.usage_in is UsageIn.NOWHERE:
        return 0, 0
    return min(ask.prompt_floor, prompt), min(prompt + _answer(ask, fields), MOST_TOKENS)


def prompt_tokens(ask: Ask, attached: Sequence[int]) -> int:
    """Those of the prompt, and of a sound that is to be written down those of both."""
    if not attached and not ask.parts:
        return TEMPLATE + _rounded_up(ask.prompt_bytes, BYTES_PER_TOKEN)
    text = max(0, ask.prompt_bytes - sum(map(_in_base64, attached)))
    sounds = sum(_written_down(part.data) for part in ask.parts if part.name == "file")
    return TEMPLATE + _rounded_up(text, BYTES_PER_TOKEN) + sum(map(_attached, attached)) + sounds


def room(caller: Caller, name: Name, prompt: int) -> int | None:
    """The longest answer with which a call for this model can ever get in; None where there is no limit, or no room."""
    most: int | None = None
    for one in caller.allowances:
        bound = None if one.shadow else one.limits.most_at_once
        if bound is not None and (most is None or bound < most):
            most = bound if not one.models or models.covered(name, (one.models,)) else most
    return most - prompt if most is not None and most > prompt else None


def _answer(ask: Ask, fields: Mapping[str, bytes]) -> int:
    if ask.endpoint.streams is None:
        return 0  # An embedding has no tokens, and what is written down is reckoned with its sound.
    within = fields
    if ask.endpoint.tongue is Tongue.OLLAMA:
        within = members.object_of(fields["options"]) or {} if "options" in fields else {}
    said = members.whole(within.get(LIMITS[ask.endpoint.tongue], b"null")) or 0
    return said if said > 0 else ENDLESS


def _in_base64(size: int) -> int:
    """Characters that so many bytes have at the least, so that nothing beside them passes for a picture."""
    return _rounded_up(size * 4, 3)


def _attached(size: int) -> int:
    return max(PICTURE, _rounded_up(size, BYTES_PER_ATTACHED_TOKEN))


def _written_down(sound: bytes) -> int:
    per_second = SAMPLES_PER_SECOND if sound.startswith(SAMPLES) else COMPRESSED_PER_SECOND
    return _rounded_up(len(sound) * TOKENS_PER_SECOND, per_second)


def _rounded_up(amount: int, by: int) -> int:
    return -(-amount // by)
