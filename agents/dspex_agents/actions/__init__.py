"""Actions with schemas, and chains of them."""
