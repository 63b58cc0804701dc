"""One HTML file with everything that is stored, which opens anywhere without a network."""
