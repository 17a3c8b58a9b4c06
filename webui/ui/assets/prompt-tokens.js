// The count above each prompt: tokens taken and room in the chunks they need, and brackets that do not close.
// The server counts with the checkpoint's own tokenizer; brackets are looked at here.

import { h, setText } from "./dom.js";
import { remembered } from "./form.js";
import { countTokens, ServerError } from "./server.js";
import { chosenStyles } from "./styles.js";
import { sentence, t } from "./words.js";

const DELAY = 350;
const FIELDS = ["prompt", "negative_prompt"];
const PAIRS = { "(": ")", "[": "]", "<": ">" };

/** The first bracket that has no partner, or null. A backslash takes a bracket its meaning. */
export function loneBracket(text) {
  const open = [];
  for (let i = 0; i < text.length; i += 1) {
    if (text[i] === "\\") i += 1;
    else if (PAIRS[text[i]]) open.push(text[i]);
    else if (Object.values(PAIRS).includes(text[i])) {
      if (PAIRS[open.pop()] !== text[i]) return text[i];
    }
  }
  return open.at(-1) ?? null;
}

/** Count the prompts of a form from now on. */
export function countPrompts(kind) {
  const counter = { kind, timer: 0, asked: 0, last: "" };
  document.addEventListener("easel-form", ({ detail }) => detail.kind === kind && soon(counter));
  document.addEventListener("easel-styles", ({ detail }) => detail.kind === kind && soon(counter));
  const isMine = (target) => FIELDS.some((name) => box(kind, name) === target);
  document.addEventListener("input", ({ target }) => isMine(target) && soon(counter), { capture: true });
}

const block = (kind, name) => document.getElementById(`${kind}_${name === "prompt" ? "prompt" : "neg_prompt"}`);
const box = (kind, name) => block(kind, name)?.querySelector("textarea");

function soon(counter) {
  clearTimeout(counter.timer);
  counter.timer = setTimeout(() => void count(counter), DELAY);
}

async function count(counter) {
  const values = remembered(counter.kind);
  const texts = Object.fromEntries(FIELDS.map((name) => [name, box(counter.kind, name)?.value ?? ""]));
  const { checkpoint, num_inference_steps, emphasis } = values;
  const asked = { ...texts, styles: chosenStyles(counter.kind), ...present({ checkpoint, num_inference_steps, emphasis }) };
  const signature = JSON.stringify(asked);
  if (signature === counter.last) return;
  counter.last = signature;
  const turn = (counter.asked += 1);
  let answer = null;
  let problem = "";
  try {
    answer = await countTokens(asked);
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    if (!error.told) counter.last = "";  // nobody answered: worth asking again
    problem = error.told ? sentence(error.told) : t("tokens.unknown");
  }
  if (turn !== counter.asked) return;  // more was typed meanwhile
  for (const name of FIELDS) show(counter.kind, name, texts[name], answer?.[name], problem);
}

const present = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value ?? false));

function show(kind, name, text, count, problem) {
  const where = block(kind, name);
  if (!where) return;
  const element = where.querySelector(".easel-tokens") ?? where.appendChild(h("span", { class: "easel-tokens" }));
  const bracket = loneBracket(text);
  const said = count ? t("tokens.count", count) : problem;
  setText(element, count ? `${count.used}/${count.room}` : "?");
  element.classList.toggle("easel-tokens-wrong", Boolean(bracket));
  element.title = bracket ? `${said} ${t("tokens.bracket", { bracket })}` : said;
}
