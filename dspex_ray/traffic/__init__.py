"""Which version of a program answers whom: weights, rules, shadows and ramps, without a network or a clock."""
