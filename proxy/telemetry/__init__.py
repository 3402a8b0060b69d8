"""What do we tell the operators?

What is told of calls is told by listeners of the ledger's entries, so that log and ledger can never disagree.
"""
