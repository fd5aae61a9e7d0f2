"""A bundle or a run on data: embed, measure, choose a threshold, judge, write."""
