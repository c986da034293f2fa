"""Programs as autoscaling HTTP endpoints; `deploy`, `running`, `start`, `replica` and `serve_private` load Ray."""
