"""What `dspex demo` shows: a bundled data set, a program for it, and a tour from the first score to the endpoint."""
