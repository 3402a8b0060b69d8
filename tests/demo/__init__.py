"""The stand-ins must be true to Ollama's shapes, or whatever is tested against them is not."""
