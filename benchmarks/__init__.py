"""Each script compares in one run, writes JSON to results/ and a table to RESULTS.md."""
