// What the palette offers: controls and buttons of the page (webui/ui/palette.py tells them), jobs, preferences, models.

import { branchOf, setBranch } from "./branch.js";
import { copyAs, WAYS } from "./code.js";
import { chooseCheckpoint, drafted, knownCheckpoints } from "./form.js";
import { canStepForm, stepForm } from "./form-undo.js";
import { openDrafts } from "./handover.js";
import { book, isFinal, isTraining } from "./jobs.js";
import { KEYS, spelled } from "./keys.js";
import * as notify from "./notify.js";
import { optionNames } from "./options.js";
import { pageControls, pageHeadings } from "./page-contents.js";
import { plain } from "./palette-search.js";
import { presetsOf } from "./preset-list.js";
import { applyPreset, keepForCheckpoint, openPresets, wordsFor } from "./presets.js";
import { reach } from "./reach.js";
import { showSetting } from "./settings.js";
import { isTabOpen, openTab } from "./tabs.js";
import { chosenStyles } from "./styles.js";
import { chooseLanguage, chooseTheme, chosenTheme, THEMES } from "./status.js";
import { inEnglish, language, LANGUAGES, t } from "./words.js";

/** Button of a result -> what its job is told. */
const JOB_ACTIONS = { interrupt: "cancel", skip: "skip", pause: "pause", resume: "resume" };
const NEEDS = { skip: "running", pause: "running", resume: "paused" };

/**
 * Everything, as it is now: {id, title, english, place, names, around, keys, state, isNear, isPossible, run}. `english` is
 * empty where it says the same as the title, `state` is "on", "off" or empty; for the others see palette-search.js.
 */
export const entries = (actions) => [
  ...buttons(), ...jobActions(), ...pictureActions(), ...tabs(), ...formActions(), ...preferences(actions), ...fields(),
  ...checkpoints(), ...presets(), ...settings(),
];

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

const whereOf = ({ inside }) => inside.map((id) => pageHeadings()[id]);

const ofPage = (control, run, more = {}) => {
  const { element, label, inside } = control;
  return entry(element, label, run, { element, where: whereOf(control), isNear: isTabOpen(inside[0]), ...more });
};

const fields = () => pageControls().filter(({ role }) => role === "field").map((control) => ofPage(control, () => reach(control)));

function buttons() {
  const keysOf = ({ element, inside }) => (element.endsWith("_generate") && isTabOpen(inside[0]) ? spelled(KEYS.page.generate[0]) : "");
  const press = async (control) => (await reach(control))?.click();
  return pageControls().filter(({ role }) => role !== "field").map((each) => ofPage(each, () => void press(each), { keys: keysOf(each) }));
}

const tabs = () =>
  Object.entries(pageHeadings())
    .filter(([id]) => id.startsWith("tab_"))
    .map(([id, label]) => entry(id, "palette.open_tab", () => openTab(id), { values: { tab: label }, element: id }));

/** The result of the open tab, if it has one. */
const stageAtHand = () => [...document.querySelectorAll("easel-result")].find((each) => each.offsetParent);

/** What can be done with the picture on the stage. */
function pictureActions() {
  const stage = stageAtHand();
  const branch = stage?.querySelector(".easel-branch-here");
  return [
    entry("compare", "compare.open.title", () => stage.compare(), { isPossible: Boolean(stage?.canCompare) }),
    entry("strip", "strip.label", () => stage.strip.track.focus(), { isPossible: Boolean(stage && !stage.strip.element.hidden) }),
    entry("branch_here", "branch.here", () => branch.click(), { isPossible: Boolean(branch?.offsetParent) }),
    entry("branch_end", "branch.end.title", () => setBranch("txt2img", null), { isPossible: "branch_step" in branchOf("txt2img") }),
  ];
}

/** The job on the stage of the open tab, else whatever picture is being made. */
function jobAtHand() {
  const stage = stageAtHand();
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

const PRESET_TABS = ["txt2img", "img2img"];

function formActions() {
  const kind = PRESET_TABS.find((each) => isTabOpen(`tab_${each}`));
  const where = kind ? [`tab.${kind}`] : [];
  return [
    ...["undo", "redo"].map((name) => entry(`form_${name}`, `form.${name}`, () => void stepForm(name), { keys: spelled(KEYS.page[name][0]), isPossible: canStepForm(name) })),
    entry("presets", "presets.open", () => openPresets(kind), { where, isPossible: Boolean(kind) }),
    entry("keep_for_checkpoint", "presets.keep_for", () => void keepForCheckpoint(kind), { where, isPossible: Boolean(kind) }),
    entry("drafts", "handover.title", () => void openDrafts()),
  ];
}

const presets = () =>
  PRESET_TABS.flatMap((kind) =>
    presetsOf(kind).map((preset) => {
      const open = () => void applyPreset(preset).then(() => openTab(`tab_${kind}`));
      return entry(`preset_${kind}_${preset.name}`, wordsFor(preset), open, { where: [`tab.${kind}`, "presets.open"], isNear: isTabOpen(`tab_${kind}`) });
    }),
  );

const settings = () =>
  optionNames().map((name) => entry(`option_${name}`, `option.${name}.label`, () => void showSetting(name), { where: ["tab.settings"], element: name }));

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
