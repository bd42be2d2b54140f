"""Real servers on this machine, as subprocesses: nginx for measurements, granian for the demo and without nginx."""
