"""Does everybody at the desk do what they say?"""
