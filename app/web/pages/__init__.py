"""The pages a person reads the API in: Swagger UI at /docs, Redoc at /redoc, from files in this package."""
