"""The state of agents: its schema, changes of it, and snapshots that outlive the process."""
