"""Real servers on this machine, as subprocesses: nginx for measuring, granian for the demo and in nginx's place."""
