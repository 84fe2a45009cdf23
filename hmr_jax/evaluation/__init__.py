"""Evaluation: loop, scores, statistics, result files, comparison and report."""
