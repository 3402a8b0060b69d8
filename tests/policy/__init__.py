"""Is what may be asked decided by what Ollama would understand?"""
