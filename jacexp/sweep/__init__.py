"""A sweep: which of its runs are missing, who trains them, and how far it is."""
