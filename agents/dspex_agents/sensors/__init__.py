"""Supervised sources of signals."""
