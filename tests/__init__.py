"""Mirrors ``proxy/`` by folder and name; ``test_map`` holds it to that."""
