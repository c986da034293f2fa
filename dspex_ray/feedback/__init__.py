"""Feedback on answers: a reward or a correction for a request, which becomes training data."""
