"""From files to sequences, and what every stage stands on: tables, runs, workers."""
