"""Llamagate: a gate in front of an Ollama server that knows who asks, what they may do, and what it cost.

Read in this order: ``vocabulary`` (the nouns), ``errors`` (every way we say no), ``gateway`` (one request, from the
door to the ledger), ``relay`` (the answer on its way back), then whichever folder answers your question:

    config      What were we told to be?
    auth        Who asks?
    policy      May they ask this?
    limits      May they ask now?
    dialects    How is it said?
    backends    Who answers?
    ledger      What did it cost, and how did it end?
    telemetry   What do we tell the operators?
    web         The front door.
    admin       The back office.
    schema      What does the database look like?
    demo        What if there is no Ollama here?
    doctor      What is wrong around the gate, and what cures it?

``bootstrap`` is the one file that names concrete classes.
"""

__version__ = "0.1.0"
