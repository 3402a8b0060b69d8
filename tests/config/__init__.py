"""Is what we were told read rightly?"""
