"""From stored tables to the papers' tables, figures and a scorecard; pandas and matplotlib, no torch."""
