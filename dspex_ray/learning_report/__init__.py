"""What an optimisation has learnt, and at what cost, as one HTML file."""
