"""The steps: pure decisions over batches and watermarks, one idea a file."""
