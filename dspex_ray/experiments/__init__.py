"""Comparing live versions with statistics that hold however often one looks."""
