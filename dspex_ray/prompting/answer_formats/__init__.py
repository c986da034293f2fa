"""The forms in which a model is asked to answer, and how its replies are read."""
