"""Does the gate tell a caller of itself, and of nobody else?"""
