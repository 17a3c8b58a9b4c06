// The panel of boxes: a sheet in the picture's shape on which they are drawn, moved and resized, and a row for each one's
// words. The option's text is the only truth: it is read when somebody else has changed it, and written at each change.

const WORDS = {
  en: {
    sheet: "Boxes: drag over the sheet to draw one", add: "Add a box", undo: "Undo", redo: "Redo", box: "Box {number}",
    remove: "Remove box {number}", prompt: "What box {number} shows", negative: "What box {number} must not show (empty: as the picture)",
    weight: "Weight of box {number}", unread: "Line {line} of the text below cannot be read. Correct it to draw boxes again.",
    placed: "Box {number}, {prompt}: {left} % from the left, {top} % from the top, {width} % wide, {height} % high. Arrows move it, with Shift they resize it, Delete removes it.",
    hint: "Drag over the sheet to draw a box.", most: "{most} boxes are possible.",
  },
  ko: {
    sheet: "상자: 판 위를 끌어서 그리세요", add: "상자 추가", undo: "실행 취소", redo: "다시 실행", box: "상자 {number}",
    remove: "상자 {number} 삭제", prompt: "상자 {number}에 보일 것", negative: "상자 {number}에 보이지 않을 것 (비우면 그림과 같음)",
    weight: "상자 {number}의 가중치", unread: "아래 글의 {line}번째 줄을 읽을 수 없습니다. 고치면 다시 상자를 그릴 수 있습니다.",
    placed: "상자 {number}, {prompt}: 왼쪽에서 {left} %, 위에서 {top} %, 너비 {width} %, 높이 {height} %. 화살표로 옮기고, Shift와 함께 크기를 바꾸고, Delete로 지웁니다.",
    hint: "판 위를 끌어서 상자를 그리세요.", most: "상자는 {most}개까지 가능합니다.",
  },
};
const language = navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en";
const t = (key, values = {}) => WORDS[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

const MOST = 16;
const LEAST = 0.04;  // of a side: what can still be gripped
const STEP = 0.01;
const HUES = [8, 48, 205, 140, 280, 330, 175, 95];

/** A new element; text is always text. */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

const clamped = (value, least, most) => Math.min(Math.max(value, least), Math.max(least, most));
const rounded = (value) => Math.round(value * 100) / 100;
/** What a side has left beside so much of it, in the three digits that are written. */
const beside = (value) => Math.floor((1 - value) * 1000 + 1e-6) / 1000;
const said = (value) => String(Math.round(value * 1000) / 1000);

/** {boxes} of the option's text, or {line}, the first line that cannot be read. The server has the last word. */
export function readBoxes(text) {
  const boxes = [];
  for (const [index, raw] of text.split("\n").entries()) {
    if (!raw.trim()) continue;
    const [, before, words] = raw.match(/^([^:]*):(.*)$/) ?? [];
    const numbers = before?.trim().split(/\s+/) ?? [];
    const last = boxes.at(-1);
    if (numbers.length === 1 && numbers[0] === "not" && last && last.negative === null) {
      last.negative = words.trim();
      continue;
    }
    const [left, top, width, height, weight = 1] = numbers.map(Number);
    const fits = [left, top, width, height, weight].every(Number.isFinite) && numbers.length <= 5;
    if (!fits || left < 0 || top < 0 || width <= 0 || height <= 0 || left + width > 1.001 || top + height > 1.001) return { line: index + 1 };
    boxes.push({ left, top, width, height, weight, prompt: words.trim(), negative: null });
  }
  return { boxes };
}

export function writeBoxes(boxes) {
  const lines = boxes.flatMap(({ left, top, width, height, weight, prompt, negative }) => {
    const numbers = [left, top, width, height, ...(weight === 1 ? [] : [weight])].map(said).join(" ");
    return [`${numbers}: ${prompt}`.trim(), ...(negative === null ? [] : [`not: ${negative}`])];
  });
  return lines.join("\n");
}

class Boxes extends HTMLElement {
  connectedCallback() {
    if (this.sheet) return;
    this.boxes = [];
    this.text = "";
    this.past = [];
    this.future = [];
    this.sheet = h("div", { class: "easel-boxes-sheet", role: "group", "aria-label": t("sheet") });
    this.sheet.addEventListener("pointerdown", (event) => this.grip(event));
    this.addButton = this.button("add", () => this.addInMiddle());
    this.undoButton = this.button("undo", () => this.back(this.past, this.future));
    this.redoButton = this.button("redo", () => this.back(this.future, this.past));
    this.told = h("p", { class: "easel-boxes-told", role: "status" });
    this.rows = h("div", { class: "easel-boxes-rows" });
    this.append(this.sheet, h("div", { class: "easel-boxes-actions" }, this.addButton, this.undoButton, this.redoButton), this.told, this.rows);
    this.addEventListener("keydown", (event) => this.press(event));
    // The accordion's content is made when it is opened for the first time: the option is beside this then.
    this.closest("[id*='_group_']")?.addEventListener("input", () => this.follow());
    document.addEventListener("easel-form", ({ detail }) => detail.kind === this.getAttribute("tab") && setTimeout(() => this.follow()));
    document.addEventListener("input", () => this.shape());
    new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && this.follow()).observe(this);
    this.follow();
  }

  button(name, onclick) {
    return h("button", { type: "button", class: "easel-button", "data-action": name, onclick }, t(name));
  }

  get option() {
    return document.querySelector(`#${CSS.escape(`${this.getAttribute("tab")}_${this.getAttribute("extension")}_boxes`)} textarea`);
  }

  // Between the text and the boxes.

  /** Take over what the option says, if somebody else has changed it. */
  follow() {
    this.shape();
    const text = this.option?.value ?? "";
    if (text === this.text && this.drawn) return;
    this.text = text;
    const { boxes, line } = readBoxes(text);
    this.line = line;
    this.boxes = boxes ?? [];
    this.draw();
  }

  /** Write the boxes into the option as if somebody had typed them. */
  write({ undoable = true } = {}) {
    const text = writeBoxes(this.boxes);
    if (text === this.text) return;
    if (undoable) {
      this.past.push(this.text);
      this.future = [];
    }
    this.say(text);
  }

  say(text) {
    this.text = text;
    const { option } = this;
    if (option) {
      option.value = text;
      option.dispatchEvent(new Event("input", { bubbles: true }));
    }
    this.draw();
  }

  back(from, to) {
    if (!from.length) return;
    to.push(this.text);
    const text = from.pop();
    this.line = undefined;
    this.boxes = readBoxes(text).boxes ?? [];
    this.say(text);
  }

  // Drawing what there is.

  /** The sheet has the shape of the picture. */
  shape() {
    const side = (name) => Number(document.querySelector(`#${this.getAttribute("tab")}_${name} input[type=number]`)?.value) || 1;
    const ratio = `${side("width")} / ${side("height")}`;
    if (this.ratio !== ratio) this.sheet.style.aspectRatio = this.ratio = ratio;
    this.sheet.style.setProperty("--ratio", side("width") / side("height"));
  }

  draw() {
    this.drawn = true;
    this.sheet.toggleAttribute("data-locked", this.line !== undefined);
    this.told.textContent = this.line !== undefined ? t("unread", { line: this.line }) : this.boxes.length ? "" : t("hint");
    this.addButton.disabled = this.line !== undefined || this.boxes.length >= MOST;
    this.undoButton.disabled = !this.past.length;
    this.redoButton.disabled = !this.future.length;
    while (this.sheet.childElementCount > this.boxes.length) this.sheet.lastElementChild.remove();
    while (this.rows.childElementCount > this.boxes.length) this.rows.lastElementChild.remove();
    this.boxes.forEach((box, index) => {
      if (!this.sheet.children[index]) this.sheet.append(this.newBox(index));
      if (!this.rows.children[index]) this.rows.append(this.newRow(index));
      this.place(index);
      this.fill(index);
    });
  }

  newBox(index) {
    const corners = ["nw", "ne", "sw", "se"].map((corner) => h("span", { class: "easel-box-corner", "data-corner": corner }));
    const element = h("div", { class: "easel-box", tabindex: "0", role: "button", "data-box": index + 1 }, h("span", { class: "easel-box-words" }), ...corners);
    element.style.setProperty("--hue", HUES[index % HUES.length]);
    return element;
  }

  place(index) {
    const { left, top, width, height, prompt } = this.boxes[index];
    const element = this.sheet.children[index];
    const percent = Object.fromEntries(Object.entries({ left, top, width, height }).map(([name, value]) => [name, Math.round(value * 100)]));
    for (const [name, value] of Object.entries({ left, top, width, height })) element.style[name] = `${value * 100}%`;
    element.setAttribute("aria-label", t("placed", { number: index + 1, prompt, ...percent }));
    element.firstElementChild.textContent = `${index + 1} ${prompt}`;
  }

  newRow(index) {
    const number = index + 1;
    const field = (name, attributes) => h("input", {
      ...attributes, class: `easel-box-${name}`, "aria-label": t(name, { number }), placeholder: t(name, { number }), title: t(name, { number }),
      oninput: (event) => { event.stopPropagation(); this.edit(index, name, event.target.value); },
      onchange: () => { this.editing = undefined; },
    });
    const remove = h("button", { type: "button", class: "easel-button easel-box-remove", "aria-label": t("remove", { number }), title: t("remove", { number }), onclick: () => this.remove(index) }, "×");
    const row = h("div", { class: "easel-box-row", role: "group", "aria-label": t("box", { number }) },
      h("span", { class: "easel-box-number", "aria-hidden": "true" }, String(number)),
      field("prompt", { type: "text" }), field("weight", { type: "number", min: 0, max: 5, step: 0.1 }), remove, field("negative", { type: "text" }));
    row.style.setProperty("--hue", HUES[index % HUES.length]);
    return row;
  }

  /** What is being typed stays as it is typed. */
  fill(index) {
    const box = this.boxes[index];
    for (const [name, value] of Object.entries({ prompt: box.prompt, weight: said(box.weight), negative: box.negative ?? "" })) {
      const input = this.rows.children[index].querySelector(`.easel-box-${name}`);
      if (input !== document.activeElement && input.value !== value) input.value = value;
    }
  }

  // Words.

  /** One undo takes back all that was typed into a field in one go. */
  edit(index, name, value) {
    const box = this.boxes[index];
    if (name === "weight") {
      if (value === "" || !Number.isFinite(Number(value))) return;
      box.weight = clamped(Number(value), 0, 5);
    } else {
      const words = value.replace(/\s*\n\s*/g, " ").trim();
      box[name] = name === "negative" && !words ? null : words;
    }
    const field = `${index} ${name}`;
    this.write({ undoable: this.editing !== field });
    this.editing = field;
  }

  // Boxes.

  addInMiddle() {
    if (this.boxes.length >= MOST) return;
    this.boxes.push({ left: 0.3, top: 0.3, width: 0.4, height: 0.4, weight: 1, prompt: "", negative: null });
    this.write();
    this.rows.lastElementChild.querySelector(".easel-box-prompt").focus();
  }

  remove(index) {
    this.boxes.splice(index, 1);
    this.write();
    (this.sheet.children[Math.min(index, this.boxes.length - 1)] ?? this.addButton).focus();
  }

  /** A press on the sheet: on a corner it resizes, on a box it moves, beside all of them it draws a new one. */
  grip(event) {
    if (event.button !== 0 || this.line !== undefined || this.dragging) return;
    const element = event.target.closest(".easel-box");
    if (!element && this.boxes.length >= MOST) return void (this.told.textContent = t("most", { most: MOST }));
    event.preventDefault();
    const from = this.at(event);
    const index = element ? Number(element.dataset.box) - 1 : this.boxes.length;
    const begun = element ? { ...this.boxes[index] } : { left: from.x, top: from.y, width: 0, height: 0, weight: 1, prompt: "", negative: null };
    const corner = element ? event.target.dataset.corner ?? null : "se";
    this.dragging = true;
    this.sheet.setPointerCapture(event.pointerId);
    element?.focus();
    let moved = false;
    const move = (next) => {
      if (next.pointerId !== event.pointerId) return;
      const to = this.at(next);
      moved ||= Math.hypot(next.clientX - event.clientX, next.clientY - event.clientY) > 3;
      if (!moved) return;
      this.boxes[index] = corner === null ? shifted(begun, to.x - from.x, to.y - from.y) : stretched(begun, corner, to);
      if (this.sheet.children[index]) this.place(index);
      else this.draw();
    };
    const end = (next) => {
      if (next.pointerId !== event.pointerId) return;
      for (const [type, listener] of Object.entries({ pointermove: move, pointerup: end, pointercancel: end })) this.sheet.removeEventListener(type, listener);
      this.dragging = false;
      if (!moved) return;
      if (next.type === "pointercancel") return this.restore();
      this.write();
      if (!element) this.rows.children[index]?.querySelector(".easel-box-prompt").focus();
    };
    for (const [type, listener] of Object.entries({ pointermove: move, pointerup: end, pointercancel: end })) this.sheet.addEventListener(type, listener);
  }

  /** Back to what the text says. */
  restore() {
    this.boxes = readBoxes(this.text).boxes ?? [];
    this.draw();
  }

  at({ clientX, clientY }) {
    const { left, top, width, height } = this.sheet.getBoundingClientRect();
    return { x: rounded(clamped((clientX - left) / width, 0, 1)), y: rounded(clamped((clientY - top) / height, 0, 1)) };
  }

  press(event) {
    if (event.target.matches("input")) return;  // which has an undo of its own
    if ((event.ctrlKey || event.metaKey) && ["z", "y"].includes(event.key.toLowerCase())) {
      const forward = event.key.toLowerCase() === "y" || event.shiftKey;
      if (forward) this.back(this.future, this.past);
      else this.back(this.past, this.future);
      return this.keep(event);
    }
    const element = event.target.closest(".easel-box");
    if (!element) return;
    const index = Number(element.dataset.box) - 1;
    if (["Delete", "Backspace"].includes(event.key)) {
      this.remove(index);
      return this.keep(event);
    }
    if (event.key === "Enter") {
      this.rows.children[index].querySelector(".easel-box-prompt").focus();
      return this.keep(event);
    }
    const way = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
    if (!way || event.ctrlKey || event.altKey || event.metaKey) return;
    const box = this.boxes[index];
    const [x, y] = way;
    const corner = { x: rounded(Math.min(box.left + box.width + x, 1)), y: rounded(Math.min(box.top + box.height + y, 1)) };
    this.boxes[index] = event.shiftKey ? stretched(box, "se", corner) : shifted(box, x, y);
    this.write();
    this.keep(event);
  }

  /** The page's own keys are not for what was meant for a box. */
  keep(event) {
    event.preventDefault();
    event.stopPropagation();
  }
}

/** The box moved, inside the sheet. */
const shifted = (box, x, y) => ({
  ...box, left: clamped(rounded(box.left + x), 0, beside(box.width)), top: clamped(rounded(box.top + y), 0, beside(box.height)),
});

/** The box with one corner drawn to a point; the opposite one stays, and a box that is turned over stays a box. */
function stretched(box, corner, { x, y }) {
  const [left, width] = span(corner.includes("w") ? box.left + box.width : box.left, x);
  const [top, height] = span(corner.includes("n") ? box.top + box.height : box.top, y);
  return { ...box, left, top, width, height };
}

/** Begin and length of what lies between two places on a side. */
function span(fixed, moved) {
  const length = Math.max(Math.abs(moved - fixed), LEAST);
  const begin = clamped(moved < fixed ? fixed - length : fixed, 0, 1 - length);
  return [rounded(begin), Math.min(rounded(length), beside(rounded(begin)))];
}

customElements.define("easel-boxes", Boxes);
