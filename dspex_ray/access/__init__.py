"""Who may call what, how much of it, and a record of who changed what."""
