# Nothing: drills bring their own servers.
