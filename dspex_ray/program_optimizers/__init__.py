"""Optimizers that write what programs are told and shown."""
