// Runs before anything is painted: colours and language of the last visit. Everything else is in easel.js.
(() => {
  const stored = (key) => {
    try { return localStorage.getItem(key); } catch { return null; }  // storage may be forbidden
  };

  /** What is set for every page (webui/options.py), put into the page by the server. */
  const set = () => globalThis.easelOptions ?? {};

  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const choice = stored("easel.theme") || set().theme || "system";
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

  const hidden = document.createElement("style");
  const hide = () => {
    const names = (set().hidden_tabs ?? []).filter((name) => /^\w+$/.test(name));
    hidden.textContent = names.map((name) => `#tab_${name}-button { display: none !important; }`).join("\n");
  };
  document.head.append(hidden);
  hide();
  addEventListener("easel-options", () => {
    apply();
    hide();
  });

  // Gradio takes the language of its labels from the navigator and offers no other way in.
  const fixed = set().language === "browser" ? null : set().language;
  const language = stored("easel.language") || fixed;
  if (language) {
    Object.defineProperty(navigator, "language", { get: () => language, configurable: true });
    Object.defineProperty(navigator, "languages", { get: () => [language], configurable: true });
  }
})();
