"""Does the desk do what it says?"""
