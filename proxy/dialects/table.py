"""Which dialect speaks which tongue."""

from collections.abc import Mapping

from proxy.dialects import Dialect
from proxy.dialects.anthropic import AnthropicDialect
from proxy.dialects.ollama import OllamaDialect
from proxy.dialects.openai import OpenAIDialect
from proxy.dialects.responses import ResponsesDialect
from proxy.dialects.transcription import TranscriptionDialect
from proxy.vocabulary import Tongue

DIALECTS: Mapping[Tongue, Dialect] = {
    Tongue.OLLAMA: OllamaDialect(),
    Tongue.OPENAI: OpenAIDialect(),
    Tongue.RESPONSES: ResponsesDialect(),
    Tongue.TRANSCRIPTION: TranscriptionDialect(),
    Tongue.ANTHROPIC: AnthropicDialect(),
}
