"""What is done with kept versions: say how one came to be, compare two, promote behind a gate, notice drift."""
