"""What is on disk: run directories, tables, checkpoints and where results come from."""
