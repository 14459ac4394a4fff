"""The demos: pipelines as a user writes them, and beside each a plain program that computes the same without it."""
