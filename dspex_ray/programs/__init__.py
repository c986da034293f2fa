"""Programs: what they declare, the parts they are made of, their state and their names."""
