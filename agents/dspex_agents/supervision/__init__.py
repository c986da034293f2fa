"""How a tree of agents is specified, started, restarted and placed."""
