// <easel-png-info>: a picture is dropped or chosen, and the page says how it was made and sends it on.

import { errorCard } from "./cards.js";
import { h } from "./dom.js";
import { readPicture } from "./gallery-list.js";
import { infoPanel } from "./info-panel.js";
import { sendButtons } from "./send.js";
import { ServerError } from "./server.js";
import { openTab, whenThere } from "./tabs.js";
import { t } from "./words.js";

/** Open the tab and read a file there. */
export async function showPicture(file) {
  openTab("tab_png_info");
  const element = await whenThere("easel-png-info");
  await element.show(file);
}

class EaselPngInfo extends HTMLElement {
  #address = null;
  #picks = 0;

  connectedCallback() {
    if (this.picker) return;
    this.picker = h("input", { type: "file", class: "easel-sr", accept: "image/png,image/jpeg,image/webp", "aria-label": t("pnginfo.choose"), onchange: () => this.show(this.picker.files[0]) });
    this.image = h("img", { alt: t("pnginfo.picture"), hidden: true });
    this.hint = h("p", { class: "easel-png-hint" }, t("pnginfo.drop"));
    this.drop = h(
      "label",
      {
        id: "pnginfo_image", class: "easel-png-drop",
        ondragover: (event) => this.#over(event, true),
        ondragleave: (event) => this.#over(event, false),
        ondrop: (event) => this.#dropped(event),
      },
      this.picker, this.image, this.hint,
    );
    this.buttons = h("div", { id: "pnginfo_send_buttons", class: "easel-actions" });
    this.panel = h("div", { id: "pnginfo_html_info", class: "easel-png-panel", "aria-live": "polite" });
    this.replaceChildren(this.drop, h("div", { class: "easel-png-side" }, this.buttons, this.panel));
    document.addEventListener("paste", ({ clipboardData }) => this.clientWidth && this.show(clipboardData?.files[0]));
  }

  /** Read a file and show what it says. */
  async show(file) {
    if (!file) return;
    const pick = ++this.#picks;
    if (this.#address) URL.revokeObjectURL(this.#address);
    this.#address = URL.createObjectURL(file);
    this.image.src = this.#address;
    this.image.hidden = false;
    this.hint.textContent = file.name;
    this.buttons.replaceChildren();
    this.panel.replaceChildren(h("p", {}, t("pictures.loading")));
    this.picker.value = "";
    try {
      const info = await readPicture(file);
      if (pick !== this.#picks) return;  // another picture was chosen meanwhile
      this.buttons.replaceChildren(...sendButtons(info.values, file));
      this.panel.replaceChildren(...infoPanel(info));
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      if (pick !== this.#picks) return;
      this.image.hidden = true;
      this.panel.replaceChildren(errorCard(error.kind, error.told));
    }
  }

  #over(event, isOver) {
    event.preventDefault();
    this.drop.toggleAttribute("data-over", isOver);
  }

  #dropped(event) {
    this.#over(event, false);
    void this.show(event.dataTransfer.files[0]);
  }
}

export const define = () => customElements.define("easel-png-info", EaselPngInfo);
