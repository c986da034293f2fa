"""Requests kept: what came of each request of served programs, for experiments, feedback and training data."""
