"""Is who has had enough told so, and nobody else?"""
