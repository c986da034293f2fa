"""Where agents run: hosts, cells, and the in-process and Ray runtimes behind one contract."""
