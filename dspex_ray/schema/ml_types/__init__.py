"""Types of machine learning as annotations of schema fields, one a file, each with its rule."""
