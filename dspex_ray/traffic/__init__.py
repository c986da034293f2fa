"""Which version of a program answers whom: weights, rules, shadows and ramps, and how replicas learn of them."""
