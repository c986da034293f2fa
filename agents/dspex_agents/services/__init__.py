"""Guards and shared goods: breakers, retries, limits, resources."""
