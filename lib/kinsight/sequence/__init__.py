"""Stage `sequence`: events to vocabularies, sequences, user features and user bags."""
