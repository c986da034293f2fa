"""The `dspex` command line."""
