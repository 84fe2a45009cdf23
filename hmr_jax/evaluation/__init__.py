"""Around `hmr_jax.evaluate`: one step, many hosts, results, comparison, report."""
