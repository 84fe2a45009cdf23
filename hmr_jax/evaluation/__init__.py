"""Around `hmr_jax.evaluation.loop`: one step, many hosts, results, comparison, report."""
