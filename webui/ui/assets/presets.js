// <easel-presets kind>: the buttons below a form, and the dialog in which presets are made, applied and kept.

import { branchNow } from "./branch.js";
import { errorCard } from "./cards.js";
import { h, isSure, renewed } from "./dom.js";
import { branchWith, fieldsOf, knownCheckpoints, putIntoForm, valuesNow, unfit } from "./form.js";
import { groupsOf } from "./preset-groups.js";
import { isDefault, presetsOf, takePresets } from "./preset-list.js";
import { deletePreset, getPresets, importPresets, renamePreset, savePreset, server, ServerError } from "./server.js";
import { toast } from "./toast.js";
import { t } from "./words.js";

/** What belongs to one picture and not to a checkpoint. */
const NOT_OF_CHECKPOINT = ["prompt", "negative_prompt", "hires_prompt", "hires_negative_prompt", "seed", "variation_seed", "checkpoint", "batch_count", "image", "mask"];

export const wordsFor = (preset) => (isDefault(preset) ? t("presets.default") : preset.name);

/** Put a preset's values into its form; what was there comes back at a press. */
export async function applyPreset(preset) {
  const { tab: kind, values } = preset;
  const now = valuesNow(kind);
  const before = Object.fromEntries(Object.keys(values).filter((name) => name in now).map((name) => [name, now[name]]));
  const branch = branchNow(kind);
  const left = unfit(kind, values);
  await putIntoForm(kind, values, branchWith(kind, values));
  const told = left.length ? t("presets.applied_but", { name: wordsFor(preset), left: left.join(", ") }) : t("presets.applied", { name: wordsFor(preset) });
  toast(told, { words: t("form.undo"), run: () => putIntoForm(kind, before, branch) });
}

/** A form's values with these names. */
const valuesOf = (kind, names) => {
  const now = valuesNow(kind);
  return Object.fromEntries(names.filter((name) => name in now && now[name] !== null).map((name) => [name, now[name]]));
};

const titleOf = (name) => knownCheckpoints().checkpoints.find((each) => each.name === name)?.title ?? name;

/** What the form says now comes with the checkpoint it says, whenever that is chosen. */
export async function keepForCheckpoint(kind) {
  const { checkpoint } = valuesNow(kind);
  if (!checkpoint) return toast(t("presets.no_checkpoint"));
  const names = Object.keys(fieldsOf(kind)).filter((name) => !NOT_OF_CHECKPOINT.includes(name));
  const preset = { name: checkpoint.slice(0, 80), tab: kind, values: valuesOf(kind, names), checkpoint };
  try {
    takePresets(await savePreset(preset));
    return toast(t("presets.kept_for", { checkpoint: titleOf(checkpoint) }));
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    return toast(error.message);
  }
}

export function openPresets(kind) {
  document.querySelector("#easel_presets")?.remove();
  const dialog = new PresetDialog(kind).dialog;
  document.querySelector(".gradio-container").append(dialog);
  dialog.showModal();
}

class PresetDialog {
  constructor(kind) {
    this.kind = kind;
    this.notes = h("div", { class: "easel-cards" });
    this.list = h("ul", { class: "easel-preset-list" });
    this.name = h("input", { class: "easel-input", id: "preset_name", maxlength: 80, required: true, placeholder: t("presets.name"), "aria-label": t("presets.name") });
    this.groups = groupsOf(kind).map((group) => ({ ...group, box: checkbox(!group.isOff) }));
    this.file = h("input", { type: "file", accept: ".json,application/json", class: "easel-sr", id: "preset_file", onchange: () => void this.#import() });
    const close = h("button", { type: "button", class: "easel-button", autofocus: true, onclick: () => this.dialog.close() }, t("action.close"));
    const title = t("presets.title", { tab: t(`tab.${kind}`) });
    this.dialog = h(
      "dialog",
      { id: "easel_presets", class: "easel-palette easel-presets-dialog", "aria-label": title, onclose: () => this.dialog.remove() },
      h("div", { class: "easel-palette-head" }, h("h2", {}, title), close),
      h("div", { class: "easel-presets-body" }, this.notes, this.list, this.#form(), this.#files()),
    );
    this.#draw();
    void this.#do(getPresets());
  }

  #form() {
    const labels = this.groups.map(({ box, title }) => h("label", { class: "easel-setting-name" }, box, title));
    const asDefault = h("button", { type: "button", class: "easel-button", id: "preset_save_default", onclick: () => void this.#save("default") }, t("presets.save_default"));
    return h(
      "form",
      { class: "easel-preset-save", onsubmit: (event) => this.#submit(event) },
      h("h3", {}, t("presets.save_title")),
      h("fieldset", {}, h("legend", {}, t("presets.which")), ...labels),
      h("div", { class: "easel-actions" }, this.name, h("button", { type: "submit", class: "easel-button", id: "preset_save" }, t("presets.save")), asDefault),
    );
  }

  #files() {
    const link = h("a", { class: "easel-button", href: server("api/v1/presets/file"), download: "easel-presets.json" }, t("presets.export"));
    return h("div", { class: "easel-actions" }, link, h("label", { class: "easel-button", for: "preset_file" }, t("presets.import")), this.file);
  }

  #submit(event) {
    event.preventDefault();
    const name = this.name.value.trim();
    if (name) void this.#save(name);
  }

  async #save(name) {
    const names = this.groups.filter(({ box }) => box.checked).flatMap((group) => group.names);
    const preset = { name, tab: this.kind, values: valuesOf(this.kind, names), checkpoint: "" };
    if (await this.#do(savePreset(preset))) this.name.value = "";
  }

  async #import() {
    const [file] = this.file.files;
    this.file.value = "";
    if (!file) return;
    try {
      await this.#do(importPresets(JSON.parse(await file.text())));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.#draw({ kind: "InvalidRequest", told: null });
    }
  }

  /** True when the server has done it. */
  async #do(answer) {
    try {
      takePresets(await answer);
      this.#draw();
      return true;
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      this.#draw(error);
      return false;
    }
  }

  #draw(error = null) {
    renewed(this.notes, error?.message ?? "", () => [error && errorCard(error.kind, error.told)]);
    const presets = presetsOf(this.kind);
    renewed(this.list, presets, () => (presets.length ? presets.map((preset) => this.#row(preset)) : [h("li", { class: "easel-hint" }, t("presets.none"))]));
  }

  #row(preset) {
    const { name, values, checkpoint } = preset;
    const use = () => {
      this.dialog.close();
      void applyPreset(preset);
    };
    const about = [
      checkpoint && t("presets.comes_with", { checkpoint: titleOf(checkpoint) }),
      isDefault(preset) && t("presets.default.about"),
      t("presets.values", { count: Object.keys(values).length }),
    ];
    const remove = h("button", { type: "button", class: "easel-button" }, t("presets.delete"));
    remove.addEventListener("click", () => isSure(remove, t("presets.delete"), t("presets.delete_sure")) && void this.#do(deletePreset(this.kind, name)));
    return h(
      "li",
      { "data-preset": name },
      h("div", {}, h("strong", {}, wordsFor(preset)), h("span", { class: "easel-hint", title: Object.keys(values).join(", ") }, about.filter(Boolean).join(" · "))),
      h(
        "div",
        { class: "easel-actions" },
        h("button", { type: "button", class: "easel-button", onclick: use }, t("presets.apply")),
        isDefault(preset) ? null : h("button", { type: "button", class: "easel-button", onclick: ({ target }) => this.#rename(target, preset) }, t("presets.rename")),
        remove,
      ),
    );
  }

  /** The name becomes a box until Enter or Escape. */
  #rename(pressed, { name }) {
    const title = pressed.closest("li").querySelector("strong");
    const box = h("input", { class: "easel-input", maxlength: 80, "aria-label": t("presets.rename") });
    box.value = name;
    box.addEventListener("keydown", (event) => {
      if (event.isComposing || !["Enter", "Escape"].includes(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      const to = box.value.trim();
      box.replaceWith(title);
      if (event.key === "Enter" && to && to !== name) void this.#do(renamePreset(this.kind, name, to));
    });
    title.replaceWith(box);
    box.select();
  }
}

function checkbox(isOn) {
  const box = h("input", { type: "checkbox" });
  box.checked = isOn;
  return box;
}

class EaselPresets extends HTMLElement {
  connectedCallback() {
    if (this.childElementCount) return;
    const kind = this.getAttribute("kind");
    const button = (key, id, onclick) => h("button", { type: "button", class: "easel-button", id: `${kind}_${id}`, onclick }, t(key));
    this.append(button("presets.open", "presets", () => openPresets(kind)), button("presets.keep_for", "keep_for_checkpoint", () => void keepForCheckpoint(kind)));
  }
}

export const define = () => customElements.define("easel-presets", EaselPresets);
