"""How does a request come in?

``app`` listens, ``door`` is the client as the story sees it, ``refusals`` says no in the caller's own dialect.
``manners`` is what clients are held to, ``cors`` what browsers are told, ``health`` what probes are; ``back_door`` is
the admin listener.
"""
