// The strip under a result: previews of all its steps, the finished picture last. Dragging along it shows a step large.

import { h, renewed, setText } from "./dom.js";
import { meaning } from "./keys.js";
import { getSteps, movingUrl, ServerError } from "./server.js";
import { t } from "./words.js";

const REMEMBERED = 40;  // strips
const FORMATS = { gif: "GIF", webp: "WebP", png: "APNG", mp4: "MP4" };

export class Strip {
  #known = new Map();  // id of a picture -> {steps: [{step, preview}], total, last_branch}, or null while they are fetched
  #picture = null;
  #at = null;  // index into the steps; null: the finished picture

  /** `does`: {look(): another step is shown, branch(step): go on from there, null where that is
      not possible; canBranch(): whether it is from the picture on display}. */
  constructor(kind, does) {
    this.does = does;
    this.track = h("div", {
      class: "easel-strip-track", id: `${kind}_strip`, role: "slider", tabindex: "0", "aria-label": t("strip.label"), title: t("strip.help"), "data-keeps-escape": "",
      onkeydown: (event) => this.#key(event),
      onpointerdown: (event) => this.#press(event),
      onpointermove: (event) => this.track.hasPointerCapture(event.pointerId) && this.#point(event),
    });
    this.told = h("span", { class: "easel-strip-told" });
    this.branch = does.branch && h("button", { type: "button", class: "easel-button easel-branch-here", title: t("branch.here.title"), onclick: () => this.#branch() }, t("branch.here"));
    this.back = h("button", { type: "button", class: "easel-button", onclick: () => this.#go(null) }, t("strip.back"));
    this.save = h("span", { class: "easel-strip-save" });
    this.element = h("div", { class: "easel-strip", hidden: true }, this.track, h("div", { class: "easel-strip-row" }, this.told, this.branch, this.back, this.save));
  }

  /** The step on display {step, preview}, or null when it is the finished picture. */
  get shown() {
    return this.#at === null ? null : this.#steps[this.#at] ?? null;
  }

  get #steps() {
    return this.#known.get(this.#picture?.id)?.steps ?? [];
  }

  /** The strip of a picture; of none when nothing or a job at work is on display. */
  update(picture) {
    if (picture?.id !== this.#picture?.id) {
      this.#picture = picture ?? null;
      this.#at = null;
    }
    if (picture && !this.#known.has(picture.id)) void this.#fetch(picture.id);
    this.#draw();
  }

  async #fetch(id) {
    this.#known.set(id, null);
    try {
      this.#known.set(id, await getSteps(id));
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      this.#known.delete(id);  // the status line says that the server is away
      return;
    }
    for (const old of [...this.#known.keys()].slice(0, -REMEMBERED)) this.#known.delete(old);
    this.#draw();
  }

  #draw() {
    const steps = this.#steps;
    this.element.hidden = !steps.length;
    if (!steps.length) return;
    renewed(this.track, this.#picture.id, () => this.#frames(steps));
    renewed(this.save, this.#picture.id, () => this.#links());
    const { total, last_branch } = this.#known.get(this.#picture.id);
    const words = this.shown ? t("strip.step", { n: this.shown.step, total }) : t("strip.finished");
    for (const [name, value] of Object.entries({ valuemin: 0, valuemax: steps.length, valuenow: this.#at ?? steps.length, valuetext: words })) {
      this.track.setAttribute(`aria-${name}`, String(value));
    }
    setText(this.told, words);
    for (const [i, frame] of [...this.track.children].entries()) frame.toggleAttribute("data-at", i === (this.#at ?? steps.length));
    this.back.hidden = !this.shown;
    // At the last step, and in a second pass, there is nothing left to go on with.
    if (this.branch) this.branch.hidden = !this.shown || this.shown.step > last_branch || !(this.does.canBranch?.() ?? true);
  }

  #frames(steps) {
    const sources = [...steps.map(({ preview }) => preview), this.#picture.source];
    return sources.map((src) => h("span", { class: "easel-strip-frame" }, h("img", { src, alt: "", draggable: "false", decoding: "async" })));
  }

  #links() {
    const links = Object.entries(FORMATS).map(([ending, name]) =>
      h("a", { class: "easel-strip-link", href: movingUrl(this.#picture.id, ending), download: `steps.${ending}`, "aria-label": t("strip.save.as", { format: name }) }, name),
    );
    return [h("span", {}, t("strip.save")), ...links];
  }

  #go(at) {
    if (at === this.#at) return;
    this.#at = at;
    this.#draw();
    this.does.look();
  }

  /** Positions: 0 is the first step, the one behind the last is the finished picture. */
  #goTo(position) {
    const end = this.#steps.length;
    this.#go(position >= end ? null : Math.max(0, position));
  }

  #press(event) {
    if (event.button !== 0) return;
    this.track.setPointerCapture(event.pointerId);
    this.track.focus({ preventScroll: true });
    this.#point(event);
  }

  #point(event) {
    const { left, width } = this.track.getBoundingClientRect();
    const places = this.#steps.length + 1;
    this.#goTo(Math.min(places - 1, Math.floor(((event.clientX - left) / width) * places)));
  }

  #key(event) {
    const end = this.#steps.length;
    const at = this.#at ?? end;
    const action = meaning("strip", event);
    if (action === "earlier") this.#goTo(at - 1);
    else if (action === "later") this.#goTo(at + 1);
    else if (action === "first") this.#goTo(0);
    else if (action === "last") this.#goTo(end);
    else if (action === "branch") this.#branch();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #branch() {
    if (this.branch && !this.branch.hidden) this.does.branch(this.shown);
  }
}
