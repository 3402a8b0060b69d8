"""How does the owner say it at a terminal?

``app`` names the commands, one file holds each family of them, ``tools`` says what they need, ``paper`` is what they
print on and ``signs`` what is drawn there. ``times`` are moments as they are typed, ``forms`` and ``sheet`` entries and
tables as other programs read them.
"""
