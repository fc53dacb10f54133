"""Real engines that tests start, on this machine alone."""
