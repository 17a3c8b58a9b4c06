// The part of the Settings tab that holds for this browser alone: colours, language, notification, sound.

import { h } from "./dom.js";
import * as notify from "./notify.js";
import { chooseLanguage, chooseTheme, chosenTheme, THEMES } from "./status.js";
import { language, LANGUAGES, t } from "./words.js";

export function browserSettings() {
  const body = h("div", {});
  const draw = () =>
    body.replaceChildren(
      row("browser_theme", "option.theme.label", select("browser_theme", THEMES.map((theme) => [theme, t(`theme.${theme}`)]), chosenTheme(), chooseTheme)),
      row("browser_language", "preferences.language", select("browser_language", LANGUAGES.map((code) => [code, t(`language.${code}`)]), language, chooseLanguage)),
      row("browser_notification", "settings.notification", flag("browser_notification", notify.isNotificationOn(), () => notify.switchNotification().then(draw))),
      row("browser_sound", "option.sound.label", flag("browser_sound", notify.isSoundOn(), notify.switchSound)),
    );
  draw();
  addEventListener("easel-theme", draw);
  addEventListener("easel-options", draw);
  return h("section", { class: "easel-settings-group" }, h("h2", {}, t("settings.browser")), body);
}

function row(id, key, control) {
  const made = h("div", { class: "easel-setting" }, h("div", { class: "easel-setting-words" }, h("label", { for: id }, t(key))), h("div", { class: "easel-setting-value" }, control));
  made.easelWords = `${t("settings.browser")} ${t(key)} ${id}`.toLowerCase();
  return made;
}

function select(id, options, value, choose) {
  const made = h("select", { class: "easel-input", id, onchange: () => choose(made.value) }, ...options.map(([each, words]) => h("option", { value: each }, words)));
  made.value = value;
  return made;
}

function flag(id, isOn, flip) {
  const box = h("input", { type: "checkbox", class: "easel-switch", role: "switch", id, onchange: flip });
  box.checked = isOn;
  return box;
}
