// Undo and redo for a whole form: what it held and went on from after each change, as long as the page is open.

const MOST = 200;
const TOGETHER = 1500;  // ms in which changes of the same field are one

/** Kind of form -> {steps, at, changed, when}: what it held, where one is, the field of the last change and its time. */
const histories = new Map();

/** The form holds these values now, and goes on from this branch. A number that is emptied keeps its last value here. */
export function keepStep(kind, values, branch = null) {
  const history = histories.get(kind) ?? { steps: [], at: -1, changed: "", when: 0 };
  histories.set(kind, history);
  const before = history.steps[history.at];
  const written = Object.entries(values).filter(([, value]) => value !== null);
  const step = { values: { ...before?.values, ...Object.fromEntries(written) }, branch };
  const changes = before ? [...Object.keys(changesOf(before.values, step.values)), ...(branch === before.branch ? [] : ["*"])] : ["*"];
  if (!changes.length) return;
  const changed = changes.join();
  const now = Date.now();
  const isSame = history.at > 0 && changed === history.changed && now - history.when < TOGETHER;
  const kept = history.steps.slice(0, history.at + (isSame ? 0 : 1));
  history.steps = [...kept, step].slice(-MOST);
  history.at = history.steps.length - 1;
  Object.assign(history, { changed, when: now });
}

/** Whether there is something in a direction: -1 back, 1 forth. */
export const canStep = (kind, direction) => Boolean(histories.get(kind)?.steps[histories.get(kind).at + direction]);

/**
 * Back or forth to the next step that is another one for the form: {values: those that differ, branch}, or null.
 * `current`: what the form holds; an emptied number comes back first. `unfit(values)`: names of those that it cannot take.
 */
export function takeStep(kind, direction, current, unfit) {
  const history = histories.get(kind);
  if (!history) return null;
  const now = history.steps[history.at];
  const emptied = Object.fromEntries(Object.entries(now.values).filter(([name]) => current[name] === null));
  if (direction < 0 && Object.keys(emptied).length) return { values: emptied, branch: now.branch };
  for (let at = history.at + direction; history.steps[at]; at += direction) {
    const { values, branch } = history.steps[at];
    const changes = changesOf(now.values, values);
    for (const name of unfit(changes)) delete changes[name];
    if (!Object.keys(changes).length && branch === now.branch) continue;
    history.steps[at] = { values: { ...now.values, ...changes }, branch };
    Object.assign(history, { at, changed: "" });
    return { values: changes, branch };
  }
  return null;
}

const changesOf = (before, after) => Object.fromEntries(Object.entries(after).filter(([name, value]) => value !== before[name]));
