"""The dashboard: pages made on the server, which a little script keeps up to date."""
