"""Is the backend asked only what was checked, and believed only what it proved?"""
