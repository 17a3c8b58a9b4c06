// What the palette offers: controls and buttons of the page (webui/ui/palette.py tells them), jobs, preferences, models.

import { copyAs, WAYS } from "./code.js";
import { chooseCheckpoint, drafted, knownCheckpoints } from "./form.js";
import { book, isFinal, isTraining } from "./jobs.js";
import { KEYS, spelled } from "./keys.js";
import * as notify from "./notify.js";
import { plain } from "./palette-search.js";
import { reach } from "./reach.js";
import { isTabOpen, openTab } from "./tabs.js";
import { chosenStyles } from "./styles.js";
import { chooseLanguage, chooseTheme, chosenTheme, THEMES } from "./status.js";
import { inEnglish, language, LANGUAGES, t } from "./words.js";

/** Button of a result -> what its job is told. */
const JOB_ACTIONS = { interrupt: "cancel", skip: "skip", pause: "pause", resume: "resume" };
const NEEDS = { skip: "running", pause: "running", resume: "paused" };

let page = { controls: [], headings: {} };

/** Gradio's load event: what the page holds, see webui/ui/palette.py. */
export function startPalette(contents) {
  page = contents;
  return [];
}

/**
 * Everything, as it is now: {id, title, english, place, names, around, keys, state, isNear, isPossible, run}. `english` is
 * empty where it says the same as the title, `state` is "on", "off" or empty; for the others see palette-search.js.
 */
export const entries = (actions) => [...buttons(), ...jobActions(), ...tabs(), ...preferences(actions), ...fields(), ...checkpoints()];

/** `key` names the words; `where`: keys of the words of what is around, outermost first. */
function entry(id, key, run, { values = {}, where = [], element = "", ...more } = {}) {
  const title = t(key, told(values, t));
  const english = inEnglish(key, told(values, inEnglish));
  const place = where.map((each) => t(each)).join(" › ");
  return {
    id, title, place, run, keys: "", state: "", isNear: false, isPossible: true, ...more,
    english: english === title ? "" : english,
    names: [title, english].map(plain),
    around: plain([place, ...where.map((each) => inEnglish(each)), element].join(" ")),
  };
}

/** Values that are keys of words themselves, in a language. */
const told = (values, inLanguage) => Object.fromEntries(Object.entries(values).map(([name, key]) => [name, inLanguage(key)]));

const whereOf = ({ inside }) => inside.map((id) => page.headings[id]);

const ofPage = (control, run, more = {}) => {
  const { element, label, inside } = control;
  return entry(element, label, run, { element, where: whereOf(control), isNear: isTabOpen(inside[0]), ...more });
};

const fields = () => page.controls.filter(({ role }) => role === "field").map((control) => ofPage(control, () => reach(control)));

function buttons() {
  const keysOf = ({ element, inside }) => (element.endsWith("_generate") && isTabOpen(inside[0]) ? spelled(KEYS.page.generate[0]) : "");
  const press = async (control) => (await reach(control))?.click();
  return page.controls.filter(({ role }) => role !== "field").map((each) => ofPage(each, () => void press(each), { keys: keysOf(each) }));
}

const tabs = () =>
  Object.entries(page.headings)
    .filter(([id]) => id.startsWith("tab_"))
    .map(([id, label]) => entry(id, "palette.open_tab", () => openTab(id), { values: { tab: label }, element: id }));

/** The job on the stage of the open tab, else whatever picture is being made. */
function jobAtHand() {
  const stage = [...document.querySelectorAll("easel-result")].find((each) => each.offsetParent);
  const others = book.shown.filter((job) => !isTraining(job) && !isFinal(job));
  return stage?.job ?? others.find(({ state }) => state === "running") ?? others[0];
}

function jobActions() {
  const job = jobAtHand();
  return Object.entries(JOB_ACTIONS).map(([name, action]) =>
    entry(`job_${name}`, `action.${action}`, () => void book.tell(job.id, action), {
      keys: name in KEYS.page ? spelled(KEYS.page[name][0]) : "",
      isPossible: Boolean(job) && (NEEDS[name] ?? job.state) === job.state,
      element: name,
    }),
  );
}

const onOff = (isOn) => (isOn ? "on" : "off");

function preferences({ showKeys }) {
  return [
    entry("queue", "palette.queue", () => document.getElementById("easel_queue_button")?.click()),
    ...WAYS.map((way) => {
      const copy = () => void copyAs(way, "txt2img", drafted("txt2img"), chosenStyles("txt2img"));
      return entry(`code_${way}`, `code.${way}`, copy, { where: ["tab.txt2img"], isPossible: isTabOpen("tab_txt2img") });
    }),
    entry("keys", "keys.title", showKeys, { keys: KEYS.page.keys.join(" ") }),
    ...THEMES.map((theme) => {
      const more = { values: { theme: `theme.${theme}` }, state: theme === chosenTheme() ? "on" : "" };
      return entry(`theme_${theme}`, "preferences.theme", () => chooseTheme(theme), more);
    }),
    ...LANGUAGES.map((code) => {
      const more = { values: { language: `language.${code}` }, state: code === language ? "on" : "" };
      return entry(`language_${code}`, "palette.language", () => chooseLanguage(code), more);
    }),
    entry("notification", "notify.notification", () => void notify.switchNotification(), { state: onOff(notify.isNotificationOn()) }),
    entry("sound", "notify.sound", () => notify.switchSound(), { state: onOff(notify.isSoundOn()) }),
  ];
}

function checkpoints() {
  return knownCheckpoints().checkpoints.map(({ name, title, problem }) =>
    entry(`checkpoint_${name}`, title, () => chooseCheckpoint(name), { where: ["param.checkpoint.label"], element: name, isPossible: !problem }),
  );
}
