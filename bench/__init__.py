"""What does the gate cost, beside others that stand where it does?

All are real processes on loopback, in front of one ``upstream`` stand-in and measured in turns: what counts is the
ratio of two of them within a run, for machines differ. Nothing here asserts a time.

``servers`` starts what is measured, ``gates`` says how ours are set up, ``peers`` how the others are, and ``stand``
puts them side by side. ``load`` are the callers. ``groups`` are the measurements; ``decisions``, ``ledger`` and
``proofs`` look at parts of the gate by themselves. ``figures``, ``marks`` and ``plot`` tell what came of it.
"""
