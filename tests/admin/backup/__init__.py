"""Does everything come back, and nothing that was made up?"""
