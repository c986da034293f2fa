"""What bench_programs.py measures, and the peers beside us."""
