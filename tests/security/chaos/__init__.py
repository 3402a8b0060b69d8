"""A fault run: real gates, a real Redis and a real database, predictable streams, and one fault after the other.

``python -m tests.security.chaos`` is the long form, which ``scripts/chaos`` starts; ``test_chaos.py`` runs a short one.
"""
