"""Is a caller known by their key, and nobody else?"""
