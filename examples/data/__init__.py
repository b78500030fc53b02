"""The data of the examples, and how they are read."""
