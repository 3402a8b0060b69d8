"""Is every dialect read, metered and spoken as Ollama speaks it?"""
