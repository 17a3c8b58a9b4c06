// What stands in the forms is kept on the server too, under an id that this browser has drawn for itself, so that another
// device, or this one after its memory was cleared, can go on with it. Pictures and canvases stay where they are.

import { h, isSure, renewed } from "./dom.js";
import { branchWith, formStarted, putIntoForm, valuesNow } from "./form.js";
import { deleteDraft, getDraft, getDrafts, saveDraft, ServerError } from "./server.js";
import { browser } from "./storage.js";
import { chooseStyles, chosenStyles } from "./styles.js";
import { toast } from "./toast.js";
import { language, t } from "./words.js";

const KINDS = ["txt2img", "img2img", "extras"];
const DELAY = 2500;  // ms of rest after which a change is sent
const RECENT = 14 * 24 * 3600;  // seconds
const SYSTEMS = [[/Android/, "Android"], [/iPhone|iPad/, "iOS"], [/Windows/, "Windows"], [/Mac OS/, "macOS"], [/Linux/, "Linux"]];
const BROWSERS = [[/Edg\//, "Edge"], [/Firefox\//, "Firefox"], [/Chrom(e|ium)\//, "Chrome"], [/Safari\//, "Safari"]];

let last = null;  // what the server has, or what stood here when the forms had started
let timer = 0;

/** Whether this browser remembers nothing: looked at before anything is written. */
const wasEmpty = KINDS.every((kind) => browser.get(`form.${kind}`) === null);

function ownId() {
  const known = browser.get("client");
  if (typeof known === "string" && /^[0-9a-f]{32}$/.test(known)) return known;
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const id = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  browser.set("client", id);
  return id;
}

function ownName() {
  const found = (list) => list.find(([pattern]) => pattern.test(navigator.userAgent))?.[1];
  return [found(BROWSERS), found(SYSTEMS)].filter(Boolean).join(", ");
}

const current = () =>
  Object.fromEntries(
    KINDS.map((kind) => [kind, { ...valuesNow(kind), styles: chosenStyles(kind) }]).filter(([, values]) => Object.keys(values).length > 1),
  );

async function send() {
  clearTimeout(timer);
  const forms = current();
  const text = JSON.stringify(forms);
  if (text === last || last === null) return;
  last = text;
  try {
    await saveDraft(ownId(), { name: ownName(), forms });
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    last = "";  // the browser has it; the next change tries again
  }
}

/** Keep what is written on the server from now on, and offer what others have written to a browser that has nothing. */
export function handOver() {
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(() => void send(), DELAY);
  };
  document.addEventListener("easel-form", later);
  document.addEventListener("easel-styles", later);
  document.addEventListener("visibilitychange", () => document.hidden && void send());
  void Promise.all(["txt2img", "img2img"].map(formStarted)).then(() => (last = JSON.stringify(current())));
  if (wasEmpty) void formStarted("txt2img").then(offer);  // there is no page to say it on before
}

async function others() {
  const { drafts } = await getDrafts();
  return drafts.filter(({ client }) => client !== ownId());
}

async function offer() {
  try {
    const draft = (await others()).find(({ saved, summary }) => summary && Date.now() / 1000 - saved < RECENT);
    if (!draft) return;
    const told = t("handover.offer", { name: nameOf(draft), when: timeOf(draft), prompt: draft.summary });
    toast(told, { words: t("handover.continue"), run: () => take(draft) });
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
  }
}

const nameOf = ({ name }) => name || t("handover.unnamed");
const timeOf = ({ saved }) => new Date(saved * 1000).toLocaleString(language, { dateStyle: "short", timeStyle: "short" });

/** The forms hold what another browser's hold; Ctrl+Z takes it back. */
async function take({ client }) {
  try {
    const { forms } = await getDraft(client);
    for (const [kind, { styles, ...values }] of Object.entries(forms)) {
      void putIntoForm(kind, values, branchWith(kind, values));
      if (Array.isArray(styles)) chooseStyles(kind, styles.filter((name) => typeof name === "string"));
    }
    toast(t("handover.taken"));
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    toast(error.message);
  }
}

/** Every draft that there is, to go on with or to forget. */
export async function openDrafts() {
  document.querySelector("#easel_drafts")?.remove();
  const list = h("ul", { class: "easel-preset-list" });
  const close = h("button", { type: "button", class: "easel-button", autofocus: true, onclick: () => dialog.close() }, t("action.close"));
  const dialog = h(
    "dialog",
    { id: "easel_drafts", class: "easel-palette easel-presets-dialog", "aria-label": t("handover.title"), onclose: () => dialog.remove() },
    h("div", { class: "easel-palette-head" }, h("h2", {}, t("handover.title")), close),
    h("div", { class: "easel-presets-body" }, h("p", { class: "easel-hint" }, t("handover.about")), list),
  );
  document.querySelector(".gradio-container").append(dialog);
  dialog.showModal();
  await draw(dialog, list);
}

async function draw(dialog, list) {
  let drafts = [];
  try {
    drafts = await others();
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    return list.replaceChildren(h("li", { role: "alert" }, error.message));
  }
  return renewed(list, drafts, () => (drafts.length ? drafts.map((draft) => row(draft, dialog, list)) : [h("li", { class: "easel-hint" }, t("handover.none"))]));
}

function row(draft, dialog, list) {
  const go = () => {
    dialog.close();
    void take(draft);
  };
  const remove = h("button", { type: "button", class: "easel-button" }, t("presets.delete"));
  remove.addEventListener("click", () => {
    if (!isSure(remove, t("presets.delete"), t("presets.delete_sure"))) return;
    void deleteDraft(draft.client).then(() => draw(dialog, list), (error) => list.prepend(h("li", { role: "alert" }, error.message)));
  });
  return h(
    "li",
    {},
    h("div", {}, h("strong", {}, `${nameOf(draft)} · ${timeOf(draft)}`), h("span", { class: "easel-hint" }, draft.summary)),
    h("div", { class: "easel-actions" }, h("button", { type: "button", class: "easel-button", onclick: go }, t("handover.continue")), remove),
  );
}
