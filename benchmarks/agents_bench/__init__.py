"""What bench_agents.py measures, by subject, and the peers beside us."""
