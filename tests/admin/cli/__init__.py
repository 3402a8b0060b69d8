"""Do the commands do and say it?"""
