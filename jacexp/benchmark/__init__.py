"""What steps, epochs and sweeps cost, in ratios within one run."""
