"""What bench_coordination.py measures, by subject, and the peers beside us."""
