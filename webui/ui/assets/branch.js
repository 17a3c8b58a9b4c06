// <easel-branch kind="txt2img">: the line that says that the form goes on from a step of another picture, and its memory.

import { h, renewed } from "./dom.js";
import { tab } from "./storage.js";
import { t } from "./words.js";

const key = (kind) => `branch.${kind}`;
const changed = (kind) => document.dispatchEvent(new CustomEvent("easel-branch", { detail: { kind } }));

/** Kind of a form that can hold a branch. */
export const BRANCHING = ["txt2img"];

const known = new Map();  // kind -> its branch, the same object until another is set

/** The branch of a form as it was set, or null. */
export function branchNow(kind) {
  if (!known.has(kind)) known.set(kind, BRANCHING.includes(kind) ? tab.get(key(kind)) : null);
  return known.get(kind);
}

/** The seeds that the first steps of a request's pictures are made with, and all that it says of them. */
export const originOf = ({ seed, variation_seed, variation_strength, branch_from }) => ({ seed, variation_seed, variation_strength, ...branch_from });

/** What a request says about the branch of a form; nothing where there is none. */
export function branchOf(kind) {
  const branch = branchNow(kind);
  return branch ? { branch_step: branch.step, branch_from: branch.from } : {};
}

/** `branch`: {step, from: the values of the picture, preview: of the step, if at hand}, or null for none. */
export function setBranch(kind, branch) {
  if (!BRANCHING.includes(kind)) return;
  known.set(kind, branch);
  tab.set(key(kind), branch);
  changed(kind);
}

class EaselBranch extends HTMLElement {
  #heard = ({ detail }) => detail.kind === this.getAttribute("kind") && this.#draw();

  connectedCallback() {
    document.addEventListener("easel-branch", this.#heard);
    this.#draw();
  }

  disconnectedCallback() {
    document.removeEventListener("easel-branch", this.#heard);
  }

  #draw() {
    const kind = this.getAttribute("kind");
    const branch = branchNow(kind);
    this.hidden = !branch;
    renewed(this, branch, () => (branch ? line(kind, branch) : []));
  }
}

const line = (kind, { step, from, preview }) => [
  preview && h("img", { src: preview, alt: "" }),
  h("div", { class: "easel-branch-words" }, h("strong", {}, t("branch.on", { step })), h("span", {}, from.prompt || t("branch.same"))),
  h("button", { type: "button", class: "easel-button easel-branch-end", title: t("branch.end.title"), onclick: () => setBranch(kind, null) }, t("branch.end")),
];

export const define = () => customElements.define("easel-branch", EaselBranch);
