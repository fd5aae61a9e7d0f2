"""Who is on which image: folders, CSV files, public data sets, and the pairs of benchmarks."""
