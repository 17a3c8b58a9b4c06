// <easel-runs kind="txt2img">: the runs of scripts that belong to a tab: how far they are, their growing grid, their end.

import { h, renewed, setText } from "./dom.js";
import { pictureUrl } from "./gallery.js";
import { book } from "./jobs.js";
import { duration } from "./progress.js";
import { getRun, getRuns, ServerError, tellRun } from "./server.js";
import { tab } from "./storage.js";
import { hasWord, sentence, t } from "./words.js";

const DELAY = 250;  // ms in which several frames make one question
const KINDS = { txt2img: ["txt2img"], img2img: ["img2img", "inpaint"] };
const REMEMBERED = 20;
const RECENT = 10;
const isOver = (run) => !["running", "paused"].includes(run.state);
const ACTIONS = { pause: (run) => run.state === "running", resume: (run) => run.state === "paused", cancel: (run) => !isOver(run) };

const ids = (name) => [tab.get(name) ?? []].flat().filter((id) => typeof id === "string");

class Runs extends HTMLElement {
  #runs = new Map();
  #cards = new Map();  // id of the run -> its parts on the page
  #asking = new Map();
  #hear = ({ detail }) => this.#heard(detail);
  #ask = () => void this.#fetchAll();

  connectedCallback() {
    this.kind = this.getAttribute("kind");
    book.addEventListener("run", this.#hear);
    book.addEventListener("runs", this.#ask);
    this.#ask();
  }

  disconnectedCallback() {
    book.removeEventListener("run", this.#hear);
    book.removeEventListener("runs", this.#ask);
  }

  /** A frame tells of a run, or the answer to its submission brings all of it. */
  #heard({ id, run }) {
    if (run) {
      tab.set("runs", [...ids("runs").filter((each) => each !== id), id].slice(-REMEMBERED));
      return this.#take(run);
    }
    if (this.#asking.has(id)) return;
    this.#asking.set(id, setTimeout(() => void this.#fetch(id), DELAY));
  }

  async #fetch(id) {
    this.#asking.delete(id);
    try {
      this.#take(await getRun(id));
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;  // the next frame or snapshot asks again
    }
  }

  async #fetchAll() {
    try {
      for (const run of (await getRuns(RECENT)).runs.reverse()) this.#take(run);
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
    }
  }

  /** Runs that are not over are everybody's; of the others only those of this page, until they are put away. */
  #take(run) {
    if (!KINDS[this.kind].includes(run.kind)) return;
    const isMine = ids("runs").includes(run.id);
    if (ids("runs.away").includes(run.id) || (isOver(run) && !isMine && !this.#runs.has(run.id))) return;
    if (isMine) book.adopt(run.cells.map(({ job }) => job).filter(Boolean));
    this.#runs.set(run.id, run);
    this.#draw();
  }

  #dismiss(id) {
    tab.set("runs.away", [...ids("runs.away"), id].slice(-REMEMBERED));
    this.#runs.delete(id);
    this.#cards.delete(id);
    this.#draw();
  }

  #draw() {
    const runs = [...this.#runs.values()].sort((a, b) => b.created - a.created);
    renewed(this, runs.map(({ id }) => id), () => runs.map((run) => this.#card(run)));
    for (const run of runs) this.#update(run);
  }

  #card(run) {
    const fill = h("div", { class: "easel-bar-fill" });
    const buttons = Object.fromEntries(Object.keys(ACTIONS).map((action) => [action, this.#button(run.id, action)]));
    const away = h("button", { type: "button", class: "easel-button", onclick: () => this.#dismiss(run.id) }, t("action.dismiss"));
    const parts = { fill, buttons, away, line: h("span", { class: "easel-line" }), speaker: h("span", { class: "easel-sr", role: "status" }), problem: h("p", { class: "easel-script-problem" }), grid: h("div", { class: "easel-run-grid" }), made: h("div", { class: "easel-run-made" }) };
    this.#cards.set(run.id, parts);
    const row = h("div", { class: "easel-live-row" }, h("strong", {}, own(run.title)), parts.line, parts.speaker, ...Object.values(buttons), away);
    return h("section", { class: "easel-run", "data-run": run.id }, row, h("div", { class: "easel-bar" }, fill), parts.problem, parts.made, parts.grid);
  }

  #button(id, action) {
    const press = async ({ target }) => {
      target.disabled = true;
      try {
        this.#take(await tellRun(id, action));
      } catch (error) {
        if (!(error instanceof ServerError)) throw error;
        void this.#fetch(id);
      } finally {
        target.disabled = false;
      }
    };
    return h("button", { type: "button", class: "easel-button", "data-action": action, onclick: press }, t(`action.${action}`));
  }

  #update(run) {
    const { fill, line, speaker, buttons, away, problem, grid, made } = this.#cards.get(run.id);
    setText(line, told(run));
    setText(speaker, announced(run));
    fill.style.width = `${run.total ? Math.floor((100 * run.over) / run.total) : 0}%`;
    for (const [action, button] of Object.entries(buttons)) button.hidden = !ACTIONS[action](run);
    away.hidden = !isOver(run);
    setText(problem, run.error ? sentence(run.error) : "");
    const isDrawn = isOver(run) && run.pictures.length > 0;
    grid.hidden = isDrawn;
    if (run.columns) grid.style.setProperty("--columns", run.columns);
    this.#updateGrid(grid, isDrawn ? [] : run.cells);
    renewed(made, run.pictures.map(({ id }) => id), () => run.pictures.map(madeOf));
  }

  /** Only cells that look otherwise are made anew: the pictures of the others stay loaded. */
  #updateGrid(grid, cells) {
    const before = grid.easelCells ?? new Map();
    grid.easelCells = new Map(cells.map((cell) => {
      const look = lookOf(cell);
      const known = before.get(cell.number);
      return [cell.number, known?.look === look ? known : { look, element: cellOf(cell) }];
    }));
    const wanted = [...grid.easelCells.values()].map(({ element }) => element);
    const kept = new Set(wanted);
    for (const child of [...grid.children]) if (!kept.has(child)) child.remove();
    wanted.forEach((element, at) => grid.children[at] === element || grid.insertBefore(element, grid.children[at] ?? null));
  }
}

/** What a screen reader hears: every quarter and every state, not every cell. */
export function announced(run) {
  if (run.state !== "running") return t(`state.${run.state}`);
  const quarter = Math.floor((run.total ? run.over / run.total : 0) * 4) * 25;
  return quarter ? t("progress.percent", { n: quarter }) : t("state.running");
}

const own = (text) => sentence({ text, template: text, values: {} });

function told(run) {
  const parts = [t("run.progress", { n: run.over, total: run.total })];
  if (run.failed) parts.push(t("run.failed", { n: run.failed }));
  if (run.state === "running" && run.eta) parts.push(t("progress.left", { time: duration(run.eta) }));
  if (run.state !== "running") parts.push(t(`state.${run.state}`));
  return parts.join(" · ");
}

/** A cell of the growing grid: its picture, or what became of it. */
function cellOf(cell) {
  const [picture] = cell.pictures;
  const state = hasWord(`state.${cell.state}`) ? t(`state.${cell.state}`) : "";
  const why = cell.error ? sentence(cell.error) : state;
  const shown = picture
    ? h("a", { href: pictureUrl(picture), target: "_blank", rel: "noopener" }, h("img", { src: pictureUrl(picture), alt: cell.label, loading: "lazy", decoding: "async" }))
    : h("span", { class: "easel-run-empty", title: why }, cell.state === "failed" || cell.state === "cancelled" ? "✕" : "");
  return h("figure", { class: "easel-run-cell", "data-state": cell.state }, shown, h("figcaption", { title: cell.label }, cell.label));
}

/** Whether a cell looks otherwise than before. */
const lookOf = ({ state, label, pictures }) => JSON.stringify([state, label, pictures[0]?.id ?? null]);

const madeOf = (picture) =>
  h("a", { href: pictureUrl(picture), target: "_blank", rel: "noopener" }, h("img", { src: pictureUrl(picture), alt: t("run.picture"), loading: "lazy" }));

export const define = () => customElements.define("easel-runs", Runs);
