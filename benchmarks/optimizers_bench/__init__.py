"""Optimizers of programs, ours and DSPy's, on a simulated model of hidden rules; see docs/simulated-world.md."""
