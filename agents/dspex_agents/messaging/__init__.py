"""What travels between agents, where it waits, and how it finds its way."""
