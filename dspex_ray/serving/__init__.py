"""Programs as autoscaling HTTP endpoints; only `replica`, `deploy` and `serve_private` load Ray."""
