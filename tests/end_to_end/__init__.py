"""Real tokens of a real model through the real gate, asked for by real clients."""
