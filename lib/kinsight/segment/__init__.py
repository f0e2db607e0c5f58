"""Stage ``segment``: user vectors to named segments with stable ids."""
