"""The book in a database: what is its own beside the contract, see ``tests/contracts``."""
