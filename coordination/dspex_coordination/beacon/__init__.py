"""The engine of BEACON: an encoding of mixed spaces, a surrogate over it, and where its acquisition is greatest."""
