"""JSON Schema as each provider takes it, one dialect a file."""
