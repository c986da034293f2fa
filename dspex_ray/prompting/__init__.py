"""From a program and its input to messages, and from replies to outputs."""
