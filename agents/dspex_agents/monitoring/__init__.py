"""Looking at a system: its figures, its thresholds, its alerts, its health."""
