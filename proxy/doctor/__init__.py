"""What is wrong around the gate, and what cures it?

Here one file for each subject turns facts into findings, and decides all of it without I/O; ``looking`` finds the facts
out. Nothing here changes anything, and no finding holds a secret.
"""
