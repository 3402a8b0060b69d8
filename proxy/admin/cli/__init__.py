"""How does the owner say it at a terminal?

``app`` names the commands, one file holds each family of them, ``tools`` says what they need, ``paper`` is what they
print on and ``signs`` what is drawn there. ``options`` are what several of them take, ``times`` moments as they are
typed, ``facts`` what is on record as it is shown, ``forms`` and ``sheet`` entries and tables for other programs.
"""
