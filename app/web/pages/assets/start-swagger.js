// Starts Swagger UI on /docs. A file of its own, because the page's policy allows no inline script.
window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#page",
  deepLinking: true,
  displayRequestDuration: true,
  // The key an operator pastes under "Authorize" survives a reload: it stays in this browser's local storage.
  persistAuthorization: true,
  // No badge: it would send the document's address to an outside validator.
  validatorUrl: null,
});
