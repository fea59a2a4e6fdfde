"""What is added to a score that may not count."""

MASKED = -30000.0
"""Its exponential is 0 beside any other score, and a score with it is still a float16."""
