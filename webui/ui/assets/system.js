// <easel-system>: versions, memory, engines, disks, the log, and what took the last jobs their time (/api/v1/system).

import { errorCard } from "./cards.js";
import { copyText, h, isSure, renewed, setText } from "./dom.js";
import { operatorBox, operatorToken } from "./operator.js";
import { duration } from "./progress.js";
import { getLog, getReport, getSystem, ServerError, tellEngines } from "./server.js";
import { phasePlot } from "./system-plot.js";
import { toast } from "./toast.js";
import { hasWord, sentence, t } from "./words.js";

const AGAIN = 4000;  // ms between two looks while the tab is open
const NEARLY = 4;  // px from the end of the log that are its end still

class EaselSystem extends HTMLElement {
  #answer = null;
  #lines = null;
  #report = "";
  #error = null;
  #timer = 0;

  #view = new IntersectionObserver(([{ isIntersecting }]) => {
    clearInterval(this.#timer);
    if (!isIntersecting) return;
    void this.#load();
    this.#timer = setInterval(() => document.hidden || void this.#load(), AGAIN);
  });

  connectedCallback() {
    if (!this.body) this.#build();
    this.#view.observe(this);
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
    this.#view.disconnect();
  }

  #build() {
    this.notes = h("div", { class: "easel-cards" });
    this.body = h("div", { class: "easel-system-grid" });
    this.restart = button("system.restart", "system_restart", () => this.#restart());
    this.unload = button("system.unload", "system_unload", () => void this.#do(async () => {
      await tellEngines("unload", operatorToken());
      toast(t("system.unloaded"));
    }));
    this.doctor = button("system.report", "system_report", () => void this.#makeReport());
    this.logButton = button("system.log", "system_log", () => void this.#do(async () => (this.#lines = (await getLog(operatorToken())).lines)));
    this.log = h("pre", { class: "easel-system-text", tabindex: "0", hidden: true, id: "system_log_text", "aria-label": t("system.log") });
    this.told = h("pre", { class: "easel-system-text", tabindex: "0", hidden: true, id: "system_report_text", "aria-label": t("system.report") });
    this.copy = button("details.copy", "system_copy", () => void this.#copy());
    this.copy.hidden = true;
    const actions = (...buttons) => h("div", { class: "easel-actions" }, ...buttons);
    this.replaceChildren(actions(this.restart, this.unload), this.notes, this.body, actions(this.doctor, this.copy), this.told, actions(this.logButton), this.log);
  }

  async #load() {
    await this.#do(async () => (this.#answer = await getSystem()), { isQuiet: true });
  }

  async #do(action, { isQuiet = false } = {}) {
    try {
      await action();
      if (!isQuiet) this.#error = null;
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      if (!isQuiet) this.#error = error;  // a server that is away is told in the bar
    }
    this.#draw();
  }

  #restart() {
    if (!isSure(this.restart, t("system.restart"), t("system.restart.sure"))) return;
    void this.#do(async () => {
      await tellEngines("restart", operatorToken());
      toast(t("system.restarted"));
    });
  }

  async #makeReport() {
    this.doctor.disabled = true;
    setText(this.doctor, t("system.report.working"));
    await this.#do(async () => (this.#report = await getReport(operatorToken())));
    setText(this.doctor, t("system.report"));
    this.doctor.disabled = false;
  }

  async #copy() {
    toast(t((await copyText(this.#report)) ? "details.copied" : "details.not_copied"));
  }

  #draw() {
    const answer = this.#answer;
    renewed(this.notes, [this.#error?.message, answer?.needs_operator], () => [
      this.#error && errorCard(this.#error.kind, this.#error.told, { dismiss: () => this.#dismiss() }),
      answer?.needs_operator && operatorBox("system_token"),
    ]);
    if (answer) {
      renewed(this.body, answer, () => [engines(answer), memory(answer), folders(answer), versions(answer), jobs(answer)]);
    }
    this.told.hidden = this.copy.hidden = !this.#report;
    setText(this.told, this.#report);
    this.log.hidden = !this.#lines;
    if (!this.#lines) return;
    const { scrollTop, clientHeight, scrollHeight } = this.log;
    const text = this.#lines.join("\n") || t("system.log.empty");
    if (this.log.textContent === text) return;
    setText(this.log, text);
    if (scrollTop + clientHeight >= scrollHeight - NEARLY) this.log.scrollTop = this.log.scrollHeight;
  }

  #dismiss() {
    this.#error = null;
    this.#draw();
  }
}

const button = (key, id, onclick) => h("button", { type: "button", class: "easel-button", id, onclick }, t(key));

const section = (key, ...children) => h("section", { class: "easel-system-card" }, h("h2", {}, t(key)), ...children);

/** Pairs of words and a text; those without a text are left out. */
const facts = (pairs) => h("dl", {}, ...pairs.filter(([, text]) => text).flatMap(([words, text]) => [h("dt", {}, words), h("dd", {}, String(text))]));

function bytes(count) {
  if (count === null || count === undefined) return "";
  return count < 2 ** 30 ? `${Math.round(count / 2 ** 20)} MB` : `${(count / 2 ** 30).toFixed(1)} GB`;
}

function engines({ workers }) {
  const one = (worker) => {
    const state = hasWord(`engine.${worker.state}`) ? t(`engine.${worker.state}`) : sentence(worker);
    const models = (worker.models ?? []).map(([name, size]) => `${name} (${bytes(size)})`).join(", ");
    return facts([
      [worker.name, worker.state === "dead" ? sentence(worker) : state],
      [t("system.device"), [worker.device_name, worker.device && `(${worker.device})`].filter(Boolean).join(" ")],
      [t("system.attention"), worker.attention],
      [t("system.models"), models || worker.checkpoint || t("system.models.none")],
      [t("system.card"), worker.memory ? t("system.free_of", { free: bytes(worker.memory[0]), total: bytes(worker.memory[1]) }) : ""],
    ]);
  };
  return section("system.engines", ...workers.map(one));
}

function memory({ memory: told, workers }) {
  return section(
    "system.memory",
    meter(told.total - told.free, told.total),
    facts([
      [t("system.machine"), t("system.free_of", { free: bytes(told.free), total: bytes(told.total) })],
      [t("system.server"), bytes(told.server)],
      ...told.engines.map((size, i) => [workers[i]?.name ?? "", bytes(size)]),
    ]),
  );
}

const meter = (used, total) => {
  const made = h("meter", { min: 0, max: total, high: total * 0.9, "aria-label": t("system.memory") });
  made.value = used;
  return made;
};

function folders({ folders: places }) {
  const told = ({ path, free, total }) => (free === null ? path : `${path} · ${t("system.free_of", { free: bytes(free), total: bytes(total) })}`);
  return section("system.folders", facts(places.map((place) => [t(`system.folder.${place.name}`), told(place)])));
}

const versions = ({ versions: found }) => section("system.versions", facts(Object.entries(found)));

function jobs({ jobs: last }) {
  const total = last.reduce((sum, { timings }) => sum + timings.total, 0);
  const words = last.length ? t("system.jobs.told", { count: last.length, mean: duration(total / last.length) }) : t("system.jobs.none");
  return section("system.jobs", h("p", { class: "easel-hint" }, words), last.length ? phasePlot([...last].reverse()) : null);
}

export const define = () => customElements.define("easel-system", EaselSystem);
