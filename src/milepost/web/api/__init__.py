"""The HTTP API: a file for each thing it knows, with its routes and what they take and give."""
