"""Does the ledger say what happened?"""
