"""Is the client answered as HTTP wants it?"""
