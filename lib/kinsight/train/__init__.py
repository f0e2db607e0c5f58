"""Stage `train`: sequences to one encoder, through petastorm into torch."""
