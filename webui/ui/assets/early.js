// Runs before anything is painted: colours and language of the last visit. Everything else is in easel.js.
(() => {
  const stored = (key) => {
    try { return localStorage.getItem(key); } catch { return null; }  // storage may be forbidden
  };

  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const choice = stored("easel.theme") || "system";
    const dark = choice === "dark" || (choice === "system" && system.matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    // Gradio's styles look for this class, and its script sets it by the system's wish alone.
    if (document.body && document.body.classList.contains("dark") !== dark) document.body.classList.toggle("dark", dark);
  };
  apply();
  system.addEventListener("change", apply);
  addEventListener("easel-theme", apply);
  addEventListener("DOMContentLoaded", () => {
    apply();
    new MutationObserver(apply).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  });

  // Gradio takes the language of its labels from the navigator and offers no other way in.
  const language = stored("easel.language");
  if (language) {
    Object.defineProperty(navigator, "language", { get: () => language, configurable: true });
    Object.defineProperty(navigator, "languages", { get: () => [language], configurable: true });
  }
})();
