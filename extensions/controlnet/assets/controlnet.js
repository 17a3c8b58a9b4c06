// The ControlNet panel: one unit at a time, its picture, the models on the server, and how the control picture looks.

const root = new URL("../../../", import.meta.url);
const MAP = new URL("../map", import.meta.url);

const WORDS = {
  en: {
    unit: "Unit {number}", choose: "Choose a picture", remove: "Remove the picture", show: "Show the control picture",
    model: "ControlNet", none: "none", failed: "That did not work: {reason}", working: "A moment …",
    picture: "Control picture of unit {number}", map: "What the preprocessor makes of it",
  },
  ko: {
    unit: "유닛 {number}", choose: "그림 선택", remove: "그림 제거", show: "제어 그림 보기",
    model: "ControlNet 모델", none: "없음", failed: "실패했습니다: {reason}", working: "잠시만 기다려 주세요 …",
    picture: "유닛 {number}의 제어 그림", map: "전처리기가 만든 결과",
  },
};
const language = navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en";
const t = (key, values = {}) => WORDS[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

/** A new element; text is always text. */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

async function answered(path, options) {
  const answer = await fetch(path, { cache: "no-store", ...options });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => null);
  throw new Error(told?.error?.text ?? answer.statusText);
}

const pictureUrl = (id) => new URL(`api/v1/inputs/${encodeURIComponent(id)}`, root).href;

class ControlUnits extends HTMLElement {
  connectedCallback() {
    if (this.tabs) return;
    const numbers = Array.from({ length: Number(this.getAttribute("units")) }, (_, index) => index + 1);
    this.tabs = numbers.map((number) =>
      h("button", { type: "button", role: "tab", class: "easel-control-tab", onclick: () => this.turnTo(number) }, t("unit", { number })),
    );
    this.file = h("input", { type: "file", accept: "image/png,image/jpeg,image/webp", hidden: true, onchange: () => void this.take() });
    this.picture = h("img", { class: "easel-control-picture", alt: "", hidden: true });
    this.map = h("img", { class: "easel-control-picture", alt: t("map"), hidden: true });
    // "input" and not "change": the listener below would have put the old value back by then.
    this.models = h("select", { oninput: () => this.set("model", this.models.value) });
    this.said = h("p", { class: "easel-control-said", role: "status" });
    this.append(
      h("div", { role: "tablist", class: "easel-control-tabs" }, ...this.tabs),
      h("div", { class: "easel-control-actions" },
        this.button("choose", () => this.file.click()),
        this.button("remove", () => this.putPicture("")),
        this.button("show", () => void this.preview()),
        this.file),
      h("div", { class: "easel-control-pictures" }, this.picture, this.map),
      this.said,
      h("label", { class: "easel-control-model" }, t("model"), this.models),
    );
    // The accordion's content is made when it is opened for the first time: the controls are beside this then.
    this.turnTo(1);
    this.closest("[id*='_group_']")?.addEventListener("input", () => this.draw());
    new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) void this.refresh();
    }).observe(this);
  }

  button(name, onclick) {
    return h("button", { type: "button", class: "easel-button", onclick }, t(name));
  }

  /** The input of an option of the unit on display. */
  control(option) {
    const id = `${this.getAttribute("tab")}_controlnet_unit${this.number}_${option}`;
    return document.querySelector(`#${CSS.escape(id)} :is(textarea, input)`);
  }

  get(option) {
    const control = this.control(option);
    return control?.type === "checkbox" ? control.checked : control?.value ?? "";
  }

  /** Change an option as if somebody had typed it. */
  set(option, value) {
    const control = this.control(option);
    if (!control || control.value === value) return;
    control.value = value;
    control.dispatchEvent(new Event("input", { bubbles: true }));
  }

  turnTo(number) {
    this.number = number;
    const home = this.closest("[id*='_group_']") ?? this.parentElement;
    home.dataset.controlUnit = String(number);
    this.tabs.forEach((tab, index) => tab.setAttribute("aria-selected", String(index + 1 === number)));
    this.map.hidden = true;
    this.said.textContent = "";
    this.draw();
  }

  async refresh() {
    try {
      const shelves = await (await answered(new URL("api/v1/models", root))).json();
      const names = (shelves.controlnets ?? []).map((model) => model.name);
      this.models.replaceChildren(h("option", { value: "" }, t("none")), ...names.map((name) => h("option", { value: name }, name)));
    } catch (error) {
      this.fail(error);
    }
    this.draw();
  }

  draw() {
    const id = this.get("image");
    this.picture.hidden = !/^[0-9a-f]{32}$/.test(id);
    if (!this.picture.hidden && this.picture.src !== pictureUrl(id)) this.picture.src = pictureUrl(id);
    this.picture.alt = t("picture", { number: this.number });
    const model = this.get("model");
    if (![...this.models.options].some(({ value }) => value === model)) this.models.append(h("option", { value: model }, model || t("none")));
    this.models.value = model;
  }

  putPicture(id) {
    this.set("image", id);
    this.map.hidden = true;
    this.draw();
  }

  /** Send the chosen file to the server, which answers the id that the option holds. */
  async take() {
    const [file] = this.file.files;
    this.file.value = "";
    if (!file) return;
    this.said.textContent = t("working");
    try {
      const kept = await answered(new URL("api/v1/inputs", root), { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file });
      this.putPicture((await kept.json()).id);
      this.said.textContent = "";
    } catch (error) {
      this.fail(error);
    }
  }

  async preview() {
    if (this.picture.hidden) return this.file.click();
    this.said.textContent = t("working");
    try {
      const picture = await (await answered(this.picture.src)).blob();
      const asked = { preprocessor: this.get("preprocessor"), resolution: this.get("resolution"), a: this.get("threshold_a"), b: this.get("threshold_b") };
      const options = { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: picture };
      const made = await (await answered(`${MAP}?${new URLSearchParams(asked)}`, options)).blob();
      URL.revokeObjectURL(this.map.src);
      this.map.src = URL.createObjectURL(made);
      this.map.hidden = false;
      this.said.textContent = "";
    } catch (error) {
      this.fail(error);
    }
  }

  fail(error) {
    this.said.textContent = t("failed", { reason: error.message });
  }
}

customElements.define("easel-control-units", ControlUnits);
