"""Ready agents: task, coordinator, monitor, and what they are made of."""
