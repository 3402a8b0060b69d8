"""What do we tell the operators?

Log, metrics and traces are listeners of the ledger's entries, so that they can never disagree.
"""
