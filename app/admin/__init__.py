"""/admin: what whoever runs the server does over HTTP, with a key of the scope `admin`."""
