// Starts Redoc on /redoc. A file of its own, because the page's policy allows no inline script.
const text = "system-ui, sans-serif";
Redoc.init(
  "/openapi.json",
  {
    // Families the reader's machine has: Redoc's own choice would need fonts from outside.
    theme: {
      typography: {
        fontFamily: text,
        headings: { fontFamily: text },
        code: { fontFamily: "ui-monospace, monospace" },
      },
    },
  },
  document.getElementById("page"),
);
