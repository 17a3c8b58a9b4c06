// <easel-extensions>: what is installed, what a review says of it, and what a person decides about it.

import { errorCard } from "./cards.js";
import { h, isSure, renewed } from "./dom.js";
import { book } from "./jobs.js";
import { request, ServerError } from "./server.js";
import { tab } from "./storage.js";
import { sentence, t } from "./words.js";

const OPERATOR = "X-Easel-Operator";
const BASE = "api/v1/extensions";

const of = (name, rest = "") => `${BASE}/${encodeURIComponent(name)}${rest}`;

class EaselExtensions extends HTMLElement {
  #all = [];
  #safeMode = false;
  #reviews = new Map();  // name -> what the server says of it
  #plans = new Map();  // name -> packages that would be installed
  #updating = "";  // name of the extension that the next .zip is a newer version of
  #busy = "";
  #error = null;
  #isStale = false;
  #follow = () => void this.#refresh();

  // Asked again whenever the tab comes into view: jobs have been measured meanwhile.
  #view = new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && this.#follow());

  connectedCallback() {
    if (!this.list) this.#build();
    book.addEventListener("extensions", this.#follow);
    this.#view.observe(this);
  }

  disconnectedCallback() {
    this.#view.disconnect();
    book.removeEventListener("extensions", this.#follow);
  }

  #build() {
    this.token = h("input", {
      type: "password", class: "easel-input", id: "extensions_token", autocomplete: "off", "aria-label": t("extensions.token"),
      placeholder: t("extensions.token"), oninput: () => tab.set("operator", this.token.value.trim()),
    });
    this.token.value = tab.get("operator") ?? "";
    this.source = h("input", {
      type: "text", class: "easel-input", id: "extensions_source", "aria-label": t("extensions.source"), placeholder: t("extensions.source"),
    });
    this.file = h("input", { type: "file", accept: ".zip", class: "easel-sr", id: "extensions_file", onchange: () => this.#upload() });
    this.form = h(
      "form",
      { class: "easel-extensions-bar", onsubmit: (event) => this.#install(event) },
      this.source,
      h("button", { type: "submit", class: "easel-button", id: "extensions_install" }, t("extensions.install")),
      h("label", { class: "easel-button", for: "extensions_file", onclick: () => (this.#updating = "") }, t("extensions.upload")),
      this.file,
    );
    this.notes = h("div", { class: "easel-cards" });
    this.list = h("div", { class: "easel-extensions-list" });
    this.replaceChildren(
      h("p", { class: "easel-hint" }, t("extensions.about")),
      h("label", { class: "easel-extensions-token" }, h("span", {}, t("extensions.token.where")), this.token),
      this.form, this.notes, this.list,
    );
  }

  // What there is.

  async #refresh() {
    try {
      const { extensions, safe_mode: safeMode } = await request(BASE);
      this.#all = extensions;
      this.#safeMode = safeMode;
    } catch (error) {
      this.#fail(error);
    }
    this.#update();
  }

  // What a person does.

  #install(event) {
    event.preventDefault();
    const source = this.source.value.trim();
    if (source) void this.#do("install", async () => this.#installed(await this.#send("POST", BASE, { source })));
  }

  #upload() {
    const [file] = this.file.files;
    const name = this.#updating;
    this.file.value = this.#updating = "";
    if (!file) return;
    const headers = { "Content-Type": "application/octet-stream" };
    void this.#do("install", async () =>
      this.#installed(await this.#request(`${BASE}/upload?${new URLSearchParams({ name })}`, { method: "POST", headers, body: file })),
    );
  }

  /** What was installed is shown with everything that is known of it: that is when a person looks. */
  #installed(review) {
    this.#reviews.set(review.name, review);
    this.source.value = "";
  }

  async #toggleReview(name) {
    if (this.#reviews.delete(name)) return this.#update();
    await this.#do(name, async () => this.#reviews.set(name, await request(of(name))));
  }

  #decide(name, action) {
    return this.#do(name, async () => {
      await this.#send("POST", of(name, `/${action}`));
      this.#isStale = true;
    });
  }

  /** From where it came; one that was uploaded, from another upload. */
  #updateOne({ name, source }) {
    if (!source) {
      this.#updating = name;
      this.file.click();
      return undefined;
    }
    return this.#do(name, async () => this.#reviews.set(name, await this.#send("POST", of(name, "/update"))));
  }

  #remove(name, button) {
    if (!isSure(button, t("extensions.remove"), t("extensions.remove.sure"))) return;
    void this.#do(name, async () => {
      await this.#send("DELETE", of(name));
      this.#reviews.delete(name);
      this.#isStale = true;
    });
  }

  /** First what would be installed, then doing it. */
  #packages(name) {
    return this.#do(name, async () => {
      if (this.#plans.has(name)) {
        await this.#send("POST", of(name, "/requirements"));
        this.#plans.delete(name);
      } else {
        this.#plans.set(name, (await this.#request(of(name, "/requirements"))).packages);
      }
    });
  }

  async #do(name, action) {
    this.#busy = name;
    this.#error = null;
    this.#update();
    try {
      await action();
    } catch (error) {
      this.#fail(error);
    }
    this.#busy = "";
    await this.#refresh();
  }

  #send(method, path, body = {}) {
    return this.#request(path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  }

  #request(path, { headers = {}, ...options } = {}) {
    return request(path, { ...options, headers: { ...headers, [OPERATOR]: this.token.value.trim() } });
  }

  #fail(error) {
    if (!(error instanceof ServerError)) throw error;
    this.#error = error;
  }

  // What is shown.

  #update() {
    renewed(this.notes, [this.#error?.message, this.#isStale, this.#safeMode, this.#busy], () => [
      this.#error && errorCard(this.#error.kind, this.#error.told, { dismiss: () => this.#dismiss() }),
      this.#safeMode && note(t("extensions.safe_mode")),
      this.#busy && note(t("extensions.busy")),
      this.#isStale && note(t("extensions.stale"), button(t("extensions.reload"), () => location.reload())),
    ]);
    const key = [this.#all, [...this.#reviews], [...this.#plans], this.#busy];
    renewed(this.list, key, () => (this.#all.length ? this.#all.map((card) => this.#card(card)) : [h("p", {}, t("extensions.none"))]));
  }

  #dismiss() {
    this.#error = null;
    this.#update();
  }

  #card(card) {
    const review = this.#reviews.get(card.name);
    return h(
      "article",
      { class: "easel-extension", id: `extension_${card.name}`, "aria-label": card.title },
      h(
        "header",
        {},
        h("h3", {}, card.title),
        h("span", { class: "easel-extension-version" }, card.version),
        h("span", { class: `easel-extension-state ${card.enabled ? "is-on" : ""}` }, t(card.enabled ? "extensions.on" : "extensions.off")),
        card.ships ? h("span", { class: "easel-extension-state" }, t("extensions.ships")) : null,
      ),
      card.description ? h("p", {}, card.description) : null,
      card.problem ? h("div", { class: "easel-card easel-warning", role: "status" }, h("p", {}, sentence(card.problem))) : null,
      ...card.failures.map((told) => h("p", { class: "easel-extension-failure" }, sentence(told))),
      facts([
        ["extensions.hooks", card.hooks.map((hook) => withTime(hook, card.ms_per_picture[hook])).join(", ")],
        ["extensions.tags", card.tags.map((kind) => `<${kind}:…>`).join(" ")],
        ["extensions.needs", card.requirements.join(", ")],
        ["extensions.asks", card.asks.join(", ")],
        ["extensions.from", card.source],
        ...(review ? reviewed(review) : []),
        ["extensions.packages", (this.#plans.get(card.name) ?? []).join(", ")],
      ]),
      this.#actions(card, review),
    );
  }

  #actions(card, review) {
    const { name } = card;
    const actions = [
      card.missing.length ? button(t(this.#plans.has(name) ? "extensions.packages.install" : "extensions.packages.plan"), () => this.#packages(name)) : null,
      card.enabled
        ? button(t("extensions.disable"), () => this.#decide(name, "disable"), "disable")
        : button(t("extensions.enable"), () => this.#decide(name, "enable"), "enable"),
      button(t(review ? "extensions.review.close" : "extensions.review"), () => this.#toggleReview(name), "review"),
    ];
    if (!card.ships) actions.push(button(t("extensions.update"), () => this.#updateOne(card), "update"));
    if (!card.ships) {
      const remove = button(t("extensions.remove"), () => this.#remove(name, remove), "remove");
      actions.push(remove);
    }
    for (const each of actions) if (each) each.disabled = Boolean(this.#busy);
    return h("div", { class: "easel-actions" }, ...actions);
  }
}

const button = (text, onclick, action) => h("button", { type: "button", class: "easel-button", "data-action": action, onclick }, text);

const note = (text, ...more) => h("div", { class: "easel-card easel-warning", role: "status" }, h("p", {}, text), ...more);

const withTime = (hook, ms) => (ms === undefined ? hook : t("extensions.hook_time", { hook, ms }));

/** Pairs of a word's key and a text; those without a text are left out. */
const facts = (pairs) =>
  h("dl", {}, ...pairs.filter(([, text]) => text).flatMap(([key, text]) => [h("dt", {}, t(key)), h("dd", {}, text)]));

const reviewed = (review) => [
  ["extensions.changes", review.changes.join(", ")],
  ["extensions.hints", review.hints.join(", ")],
  ["extensions.files", review.files.join(", ")],
  ["extensions.digest", review.digest],
];

export const define = () => customElements.define("easel-extensions", EaselExtensions);
