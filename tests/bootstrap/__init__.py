"""Does the wiring hold?"""
