"""What both sides have alike."""

TEMPERATURE = 0.4
"""Of both sides where it is not searched."""
