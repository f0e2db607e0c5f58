"""Stage `expand`: seed lists to lookalike audiences with held-out curves."""
