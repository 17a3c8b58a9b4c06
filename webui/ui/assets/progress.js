// How far a job is, in numbers and in words.

import { isFinal, isTraining } from "./jobs.js";
import { t } from "./words.js";

/** 0 to 1 over all pictures of the job. */
export function fraction(job) {
  if (job.state === "done") return 1;
  const progress = job.progress;
  if (!progress || !progress.pictures) return 0;
  const share = progress.total ? progress.step / progress.total : 0;
  if (isTraining(job)) return Math.min(1, share);
  const withinPicture = { sampling: share, upscaling: share, hires: share, tiles: share, decoding: 1, saving: 1, writing: share };
  return Math.min(1, (progress.picture + (withinPicture[progress.phase] ?? 0)) / progress.pictures);
}

export const percent = (job) => Math.floor(fraction(job) * 100);

/** One line: "Step 7 of 20 · picture 2 of 4 · 12 s left". */
export function line(job, asked) {
  if (asked && !isFinal(job)) return t(`asked.${asked}`);
  if (job.aside) return [t("training.aside"), ...where(job)].join(" · ");
  if (job.state === "queued") return waiting(job.position);
  if (job.state === "paused") return [t("state.paused"), ...where(job)].join(" · ");
  if (job.state === "running") return [...where(job), ...left(job)].join(" · ") || t("state.starting");
  return t(`state.${job.state}`);
}

export function waiting(position) {
  if (!position) return t("queue.next");
  return position === 1 ? t("queue.one_ahead") : t("queue.ahead", { n: position });
}

function where(job) {
  if (!job.progress) return [];
  const { phase, step, total, picture, pictures } = job.progress;
  if (isTraining(job)) return [phase === "training" ? t("progress.step", { step, total }) : t(`phase.training.${phase}`)];
  const steps = t("progress.step", { step, total });
  const counted = { sampling: [steps], hires: [t("phase.hires"), steps], tiles: [t("progress.tile", { step, total })], writing: [t("progress.weight", { step, total })], hashing: [t("progress.hash", { step, total })] };
  const doing = counted[phase] ?? [t(`phase.${phase}`)];
  return pictures > 1 ? [...doing, t("progress.picture", { n: picture + 1, total: pictures })] : doing;
}

function left({ progress }) {
  const seconds = progress?.eta;
  return typeof seconds === "number" && seconds >= 0 ? [t("progress.left", { time: duration(seconds) })] : [];
}

/** Seconds in words: "0.8 s", "12 s", "3 min 5 s". */
export function duration(seconds) {
  if (seconds < 1) return t("time.seconds", { s: seconds.toFixed(1) });
  const whole = Math.round(seconds);
  if (whole < 60) return t("time.seconds", { s: whole });
  if (whole < 3600) return t("time.minutes", { m: Math.floor(whole / 60), s: whole % 60 });
  return t("time.hours", { h: Math.floor(whole / 3600), m: Math.floor((whole % 3600) / 60) });
}
