"""Figures of running systems for Prometheus: one table, a collector, the text format."""
