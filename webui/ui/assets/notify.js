// Tells a reader who looks elsewhere that a job has ended: a notification of the desktop, a short sound. Both are off
// until they are switched on.

import { book, isFinal, isTraining } from "./jobs.js";
import { option } from "./options.js";
import { browser } from "./storage.js";
import { toast } from "./toast.js";
import { t } from "./words.js";

const NOTIFICATION = "notify.notification";
const SOUND = "notify.sound";
const TAG = "easel-job";  // a newer notification takes the place of the last
const NOTES = [660, 880];  // Hz
const NOTE_SECONDS = 0.16;
const LOUDNESS = 0.12;

export const isNotificationOn = () => browser.get(NOTIFICATION) === true && globalThis.Notification?.permission === "granted";
/** As it was switched in this browser, else as it is set for every page. */
export const isSoundOn = () => browser.get(SOUND) ?? option("sound") === true;

/** Asks the browser for its permission when it is switched on, and never at another time. */
export async function switchNotification() {
  if (isNotificationOn()) {
    browser.set(NOTIFICATION, false);
    return toast(t("notify.notification.off"));
  }
  const permission = await globalThis.Notification?.requestPermission();
  browser.set(NOTIFICATION, permission === "granted");
  toast(t(permission === "granted" ? "notify.notification.on" : "notify.notification.refused"));
}

export function switchSound() {
  browser.set(SOUND, !isSoundOn());
  if (isSoundOn()) play();
  toast(t(isSoundOn() ? "notify.sound.on" : "notify.sound.off"));
}

/** Follow the jobs of this page and all trainings. What the reader stopped by hand is no news. */
export function announceEnds() {
  let over = null;  // ids of jobs whose end is known; null until the server has told what was before
  book.addEventListener("change", () => {
    if (!book.status || book.sending) return;  // a quick job's end can overtake the answer that makes it ours
    const ended = book.everything.filter(isFinal);
    const isNews = (job) => over && !over.has(job.id) && document.hidden && job.state !== "cancelled" && isOurs(job);
    const news = ended.filter(isNews);
    over = new Set(ended.map(({ id }) => id));
    news.forEach(announce);
  });
}

const isOurs = (job) => book.isOwn(job.id) || isTraining(job);

function announce(job) {
  if (isSoundOn()) play();
  if (!isNotificationOn()) return;
  try {
    const notification = new Notification(t(`notify.${job.state}`), { body: job.summary, tag: TAG });
    notification.onclick = () => {
      focus();
      notification.close();
    };
  } catch {
    // Phones take notifications from service workers only, and a page like this has none.
  }
}

let speaker = null;

/** Two rising notes. */
function play() {
  speaker ??= new AudioContext();
  void speaker.resume();
  NOTES.forEach((hertz, i) => {
    const start = speaker.currentTime + i * NOTE_SECONDS;
    const [tone, volume] = [new OscillatorNode(speaker, { frequency: hertz }), new GainNode(speaker, { gain: 0 })];
    volume.gain.setValueAtTime(0, start);
    volume.gain.linearRampToValueAtTime(LOUDNESS, start + 0.02);
    volume.gain.exponentialRampToValueAtTime(0.001, start + 2 * NOTE_SECONDS);
    tone.connect(volume).connect(speaker.destination);
    tone.start(start);
    tone.stop(start + 2 * NOTE_SECONDS);
  });
}
