// What the page knows about jobs and the engine, kept up to date from frames. Draws nothing.

import { EventLine } from "./events.js";
import {
  getJob, getNamedJobs, getTrainings, ServerError, submitJob, takeUpAgain, tellJob, Unreachable,
} from "./server.js";
import { tab } from "./storage.js";

const OWN_JOBS_REMEMBERED = 50;
const MOST_NAMED = 200;  // ids that the server takes in one request
const FINAL = new Set(["done", "failed", "cancelled"]);
export const isFinal = (job) => FINAL.has(job.state);
const isKindOfTraining = (kind) => kind?.startsWith("train-");
export const isTraining = (job) => isKindOfTraining(job.kind);
const TRAININGS_REMEMBERED = 30;

/** Ids of the jobs that this tab has submitted, oldest first. */
function remembered() {
  const ids = tab.get("jobs");
  return Array.isArray(ids) ? ids.filter((id) => typeof id === "string") : [];
}

/** The ids of a page with those of a run: the newest of them have the room that the person's own leave. */
export function withAdopted(own, others, adopted) {
  const all = [...own, ...others.filter((id) => !own.includes(id))];
  const room = Math.max(0, OWN_JOBS_REMEMBERED - all.filter((id) => !adopted.has(id)).length);
  const theirs = all.filter((id) => adopted.has(id));
  const kept = new Set(theirs.slice(Math.max(0, theirs.length - room)));
  return all.filter((id) => !adopted.has(id) || kept.has(id));
}

/** What a snapshot may tell news of that no frame told: event -> what of a job it is about. */
const NEWS = { pictures: (job) => job.pictures.map(({ id }) => id), models: (job) => job.result ?? [] };

/** Emits "change" whenever anything a reader could show is different, "submit" when a request sets out, "models" when
    the models folder has changed, "pictures" when there may be others in the gallery, "run" when a run of a script has
    gone on ({id}) or was accepted ({id, run}), "runs" when any may have. */
class JobBook extends EventTarget {
  #jobs = new Map();
  /** Jobs that are being asked for -> frames about them that arrived meanwhile, to be told again on top. */
  #fetching = new Map();
  #line = new EventLine();
  #own = remembered();
  #adopted = new Set();  // ids that `adopt` was ever told, each of which it takes once
  #news = {};  // event -> what it was about in the last snapshot
  /** State of engine and queue as /api/v1/status says it; null until known. */
  status = null;
  /** Requests that the server refused or never got: [{kind, values, styles, script, error}], newest last. */
  refused = [];
  /** Whether there is a model at all; null until known. */
  hasCheckpoint = null;
  /** Requests on their way to the server. */
  sending = 0;
  /** What was asked of a job and not yet seen to happen: id -> "cancel" | "skip" | "pause" | "resume". */
  asked = new Map();

  open() {
    this.#line.addEventListener("frame", (event) => this.#apply(event.detail));
    this.#line.addEventListener("connection", () => {
      // What was asked of a server that is gone may never happen; what did happen will be told.
      if (this.connection === "lost") this.asked.clear();
      this.#changed();
    });
    this.#line.open();
  }

  get connection() {
    return this.#line.connection;
  }

  /** Picture jobs of this page, or of everyone when it has none, oldest first: what the stage and the gallery show. */
  get followed() {
    if (!this.#own.length) return this.#byAge([...this.#jobs.values()].filter((job) => !isTraining(job)));
    return this.#own.map((id) => this.#jobs.get(id)).filter(Boolean);
  }

  /** Everybody's trainings, oldest first: they belong to the machine more than to a page. */
  get trainings() {
    return this.#byAge([...this.#jobs.values()].filter(isTraining));
  }

  /** `followed` and whatever else is not over yet, oldest first: a job whose tab is closed can still be stopped. */
  get shown() {
    const others = [...this.#jobs.values()].filter((job) => !isFinal(job));
    return this.#byAge([...new Set([...this.followed, ...others])]);
  }

  /** Every job that is known, finished ones too. */
  get everything() {
    return [...this.#jobs.values()];
  }

  isOwn(id) {
    return this.#own.includes(id);
  }

  /** Send a request: values, or a promise of them. What was refused before is put away. */
  submit(kind, given, styles, script) {
    this.dismissRefusals();
    return this.submitNext(kind, given, styles, script);
  }

  /** Send one of several requests of one click, with a script as a run of it. Its outcome shows up in `followed` or in
      `refused`, that of a run is told as "run". */
  async submitNext(kind, given, styles = [], script = null) {
    let values = null;
    this.sending += 1;
    this.dispatchEvent(new Event("submit"));
    this.#changed();
    try {
      values = await given;
      const job = await submitJob(kind, values, styles, script);
      if (script) {
        this.dispatchEvent(new CustomEvent("run", { detail: { id: job.id, run: job } }));
        return job;
      }
      // A quick job's frames can overtake this answer, which is then the older news.
      if (!this.#jobs.has(job.id) && !this.#fetching.has(job.id)) this.#keep(job);
      if (!isTraining(job)) this.#own = [...this.#own.filter((id) => id !== job.id), job.id].slice(-OWN_JOBS_REMEMBERED);
      tab.set("jobs", this.#own);
      return job;
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      this.refused = [...this.refused, { kind, values, styles, script, error }];
      return null;
    } finally {
      this.sending -= 1;
      this.#changed();
    }
  }

  /** Jobs that a run of this page has made are this page's. */
  adopt(ids) {
    const others = ids.filter((id) => !this.#adopted.has(id));
    for (const id of others) this.#adopted.add(id);
    if (others.every((id) => this.#own.includes(id))) return;
    this.#own = withAdopted(this.#own, others, this.#adopted);
    tab.set("jobs", this.#own);
    for (const id of others) if (this.#own.includes(id) && !this.#jobs.has(id)) void this.#fetch(id);
    this.#changed();
  }

  /** Cancel, skip, pause or resume. A job that is already past it is not an error worth a card. */
  async tell(id, action) {
    this.asked.set(id, action);
    this.#changed();
    try {
      await tellJob(id, action);  // what became of it comes as a frame
    } catch (error) {
      this.asked.delete(id);
      if (error instanceof Unreachable) this.refused = [{ error }];
      else this.#fetch(id);
    }
    this.#changed();
  }

  /** Go on with a failed training as a new job; null when that is refused. */
  async takeUpAgain(id) {
    try {
      const job = await takeUpAgain(id);
      this.#keep(job);
      return job;
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      this.refused = [{ kind: this.#jobs.get(id)?.kind, error }];
      return null;
    } finally {
      this.#changed();
    }
  }

  /** The newest trainings, which the snapshot may not tell. */
  async fetchTrainings() {
    try {
      for (const job of (await getTrainings(TRAININGS_REMEMBERED)).jobs) this.#keep(job);
      this.#changed();
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;  // the status line says that the server is away
    }
  }

  /** Refused requests: those of trainings, or those of everything else. */
  refusedOf({ trainings }) {
    return this.refused.filter(({ kind }) => Boolean(isKindOfTraining(kind)) === trainings);
  }

  /** An error that came up before anything was sent. */
  refuse(kind, error) {
    this.refused = [{ kind, error }];
    this.#changed();
  }

  knowCheckpoints(count) {
    this.hasCheckpoint = count > 0;
    this.#changed();
  }

  dismissRefusals(refusals = this.refused) {
    this.refused = this.refused.filter((each) => !refusals.includes(each));
    this.#changed();
  }

  /** Send refused requests once more. Others that were refused stay so. */
  submitAgain(refusals) {
    this.dismissRefusals(refusals);
    for (const { kind, values, styles, script } of refusals) void this.submitNext(kind, values, styles, script);
  }

  #apply(frame) {
    if (frame.kind === "snapshot") {
      for (const job of frame.jobs) this.#keep(job);
      this.#tellNews(frame.jobs, this.status === null);
      this.status = frame.status;
      this.dispatchEvent(new Event("runs"));
      void this.#fetchUntold(new Set(frame.jobs.map(({ id }) => id)));
    } else if (frame.kind === "status") {
      const { n: _n, job: _job, kind: _kind, ...status } = frame;
      this.status = status;
    } else if (frame.kind === "run") {
      this.dispatchEvent(new CustomEvent("run", { detail: { id: frame.run } }));
    } else if (frame.kind === "models") {
      this.dispatchEvent(new Event("models"));
    } else if (frame.kind === "extensions") {
      this.dispatchEvent(new Event("extensions"));
    } else if (frame.kind === "options") {
      this.dispatchEvent(new CustomEvent("options", { detail: frame.options }));
    } else if (frame.kind === "gallery") {
      this.dispatchEvent(new Event("pictures"));
    } else if (frame.job) {
      this.#applyToJob(frame);
    }
    this.#changed();
  }

  /** Frames were missed: lists may be stale. The polls of every second say so only when they show it. */
  #tellNews(jobs, isFirst) {
    for (const [event, of] of Object.entries(NEWS)) {
      const news = jobs.flatMap(of).join();
      if (!isFirst && (this.connection !== "polling" || news !== this.#news[event])) this.dispatchEvent(new Event(event));
      this.#news[event] = news;
    }
  }

  #applyToJob(frame) {
    if (frame.kind === "image") this.dispatchEvent(new Event("pictures"));
    this.#fetching.get(frame.job)?.push(frame);
    const job = this.#jobs.get(frame.job);
    if (!job) return void this.#fetch(frame.job, [frame]);
    const changes = CHANGES[frame.kind]?.(job, frame) ?? {};
    const state = frame.state ?? job.state;
    const { started = job.started, finished = job.finished } = frame;
    this.#keep({ ...job, ...changes, state, started, finished });
  }

  #keep(job) {
    const known = this.#jobs.get(job.id);
    // An answer that was under way while the job ended must not bring it back to life.
    if (known && isFinal(known) && !isFinal(job)) return;
    if (this.#isAnswered(job, known)) this.asked.delete(job.id);
    this.#jobs.set(job.id, job);
  }

  #isAnswered(job, known) {
    const action = this.asked.get(job.id);
    if (isFinal(job)) return true;
    if (action === "pause") return job.state === "paused";
    if (action === "resume") return job.state !== "paused";
    if (action === "skip") return Boolean(known) && job.progress?.picture !== known.progress?.picture;
    return false;
  }

  /** Jobs that the snapshot did not tell and that may have ended unseen. Those that exist no more are forgotten. */
  async #fetchUntold(told) {
    const isOver = (job) => Boolean(job) && isFinal(job);
    const candidates = new Set([...this.#own, ...this.#jobs.keys()]);
    const untold = [...candidates].filter((id) => !told.has(id) && !isOver(this.#jobs.get(id))).slice(0, MOST_NAMED);
    if (!untold.length) return;
    try {
      const { jobs } = await getNamedJobs(untold);
      for (const job of jobs) this.#keep(job);
      this.#forget(untold.filter((id) => !jobs.some((job) => job.id === id)));
    } catch {
      return;  // the status line says that the server is away; the next snapshot asks again
    }
    this.#changed();
  }

  #forget(ids) {
    for (const id of ids) this.#jobs.delete(id);
    this.#own = this.#own.filter((id) => !ids.includes(id));
    tab.set("jobs", this.#own);
  }

  async #fetch(id, frames = []) {
    if (this.#fetching.has(id)) return;
    this.#fetching.set(id, frames);
    try {
      this.#keep(await getJob(id));
      this.#fetching.delete(id);
      for (const frame of frames) this.#applyToJob(frame);
    } catch (error) {
      if (error instanceof ServerError && error.kind === "NotFound") this.#forget([id]);
    } finally {
      this.#fetching.delete(id);
    }
    this.#changed();
  }

  #byAge(jobs) {
    return jobs.sort((a, b) => (a.created < b.created ? -1 : 1));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

const LIVE = ["phase", "picture", "pictures", "step", "total", "eta"];

const toldIn = ({ text, template, values }) => ({ text, template, values });

/** Kind of frame -> what it changes in a job. Kinds that only carry the state are absent. */
const CHANGES = {
  progress: (job, frame) => ({
    progress: Object.fromEntries(LIVE.map((name) => [name, frame[name] ?? null])),
    preview: frame.preview ?? job.preview,
    position: 0,
  }),
  started: () => ({ position: 0 }),
  image: (job, { image }) => ({ pictures: [...job.pictures.filter((known) => known.id !== image.id), image] }),
  warning: (job, frame) =>
    job.warnings.some(({ text }) => text === frame.text) ? {} : { warnings: [...job.warnings, toldIn(frame)] },
  failed: (job, frame) => ({ error: { kind: frame.error, ...toldIn(frame) }, preview: null }),
  cancelled: () => ({ preview: null }),
  done: (job, { timings, receipt }) => ({ timings: timings ?? null, receipt: receipt ?? [], preview: null }),
  state: (job, { position, aside }) => ({ position: position ?? job.position, aside: Boolean(aside) }),
  queued: (job, { position, aside }) => ({ position: position ?? job.position, aside: Boolean(aside) }),
  metrics: (job, { step, loss }) => ({ metrics: { step, loss } }),
  sample: (job, { sample }) => ({ newestSample: sample.step }),
  result: (job, { result }) => ({ result }),
};

export const book = new JobBook();
