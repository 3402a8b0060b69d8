"""The docs as a reader has them: built, and their commands typed."""
