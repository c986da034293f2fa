"""CloudEvents signals: routing, the durable bus, replay."""
