"""Which identity each image shows: folders, CSV files, public data sets, and benchmarks."""
