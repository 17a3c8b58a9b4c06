// The last jobs as bars, each divided into the phases that took its time; a table of the same for who cannot see them.

import { h } from "./dom.js";
import { duration } from "./progress.js";
import { hasWord, t } from "./words.js";

const [WIDTH, HEIGHT] = [600, 120];
const GAP = 0.2;  // of a bar's room
const OTHER = "other";
const COLOURS = 7;

const nameOf = (phase) => (hasWord(`phase_time.${phase}`) ? t(`phase_time.${phase}`) : phase);

/** Phase -> seconds of one job; what no phase has taken is "other". */
export function phasesOf({ total, ...timings }) {
  const phases = Object.entries(timings).filter(([, seconds]) => seconds > 0);
  const rest = total - phases.reduce((sum, [, seconds]) => sum + seconds, 0);
  return rest > total * 0.01 ? [...phases, [OTHER, rest]] : phases;
}

function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** `jobs`: [{summary, timings}], the oldest first. */
export function phasePlot(jobs) {
  const divided = jobs.map((job) => ({ job, phases: phasesOf(job.timings) }));
  const names = [...new Set(divided.flatMap(({ phases }) => phases.map(([name]) => name)))];
  const longest = Math.max(...jobs.map(({ timings }) => timings.total));
  const room = WIDTH / Math.max(jobs.length, 10);
  const bar = ({ job, phases }, i) => {
    let top = HEIGHT;
    const parts = phases.map(([name, seconds]) => {
      const height = (seconds / longest) * HEIGHT;
      top -= height;
      return s("rect", { x: i * room, y: top, width: room * (1 - GAP), height, class: `easel-phase-${names.indexOf(name) % COLOURS}` });
    });
    const told = [job.summary.slice(0, 60), ...phases.map(([name, seconds]) => `${nameOf(name)}: ${duration(seconds)}`)].join("\n");
    return s("g", {}, s("title", {}, told), ...parts);
  };
  const label = t("system.jobs");
  const plot = s("svg", { class: "easel-phases", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label }, ...divided.map(bar));
  const mean = (name) => divided.reduce((sum, { phases }) => sum + (Object.fromEntries(phases)[name] ?? 0), 0) / jobs.length;
  const key = (name, i) => h("li", {}, h("span", { class: `easel-phase-key easel-phase-${i % COLOURS}`, "aria-hidden": "true" }), `${nameOf(name)} ${duration(mean(name))}`);
  return h("div", {}, plot, h("ul", { class: "easel-phase-keys" }, ...names.map(key)));
}
