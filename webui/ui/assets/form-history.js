// Undo and redo for a whole form: what it held after each change, as long as the page is open.

const MOST = 200;
const TOGETHER = 1500;  // ms in which changes of the same field are one

/** Kind of form -> {steps, at, changed, when}: what it held, where one is, the field of the last change and its time. */
const histories = new Map();

/** The form holds these values now. */
export function keepStep(kind, values) {
  const history = histories.get(kind) ?? { steps: [], at: -1, changed: "", when: 0 };
  histories.set(kind, history);
  const before = history.steps[history.at];
  const changes = before ? Object.keys(values).filter((name) => values[name] !== before[name]) : ["*"];
  if (!changes.length) return;
  const changed = changes.join();
  const now = Date.now();
  const isSame = history.at > 0 && changed === history.changed && now - history.when < TOGETHER;
  const kept = history.steps.slice(0, history.at + (isSame ? 0 : 1));
  history.steps = [...kept, values].slice(-MOST);
  history.at = history.steps.length - 1;
  Object.assign(history, { changed, when: now });
}

/** Whether there is something in a direction: -1 back, 1 forth. */
export const canStep = (kind, direction) => Boolean(histories.get(kind)?.steps[histories.get(kind).at + direction]);

/** The values one step back or forth that differ from those now, or null. */
export function takeStep(kind, direction) {
  if (!canStep(kind, direction)) return null;
  const history = histories.get(kind);
  const now = history.steps[history.at];
  history.at += direction;
  history.changed = "";
  const then = history.steps[history.at];
  return Object.fromEntries(Object.entries(then).filter(([name, value]) => value !== now[name]));
}
