"""How good models are: one command a table, on real data, with floors beside every row."""
