// The page's one line to the server: a WebSocket that comes back by itself, or polling where sockets are blocked.
// Knows frames, not jobs: whoever listens gets them in order.

import { getJobs, getStatus, server } from "./server.js";

const FIRST_WAIT = 500;
const LONGEST_WAIT = 10_000;
const FAILURES_BEFORE_POLLING = 3;
const POLL_INTERVAL = 1000;
const RETRY_WHILE_POLLING = 30_000;
const PING_INTERVAL = 20_000;
const RECENT_JOBS = 30;

/** Emits "frame" (detail: the frame) and "connection" (detail: "connecting" | "live" | "polling" | "lost"). */
export class EventLine extends EventTarget {
  #instance = null;
  #last = 0;
  #failures = 0;
  #poll = null;
  #socket = null;
  connection = "connecting";

  open() {
    this.#connect();
    // A laptop that wakes up or a network that returns should not wait for the back-off.
    addEventListener("online", () => this.#connectNow());
    document.addEventListener("visibilitychange", () => document.hidden || this.#connectNow());
    setInterval(() => this.#send({ kind: "ping" }), PING_INTERVAL);
  }

  #connectNow() {
    if (this.connection === "lost") this.#connect();
  }

  #connect() {
    if (this.#socket && this.#socket.readyState <= WebSocket.OPEN) return;
    const socket = new WebSocket(this.#address());
    this.#socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#failures = 0;
      this.#stopPolling();
      this.#report("live");
    };
    socket.onmessage = (message) => this.#receive(JSON.parse(message.data));
    socket.onclose = () => this.#socket === socket && this.#lost(opened);
  }

  #address() {
    const address = new URL(server("api/v1/events"));
    address.protocol = address.protocol.replace("http", "ws");
    if (this.#instance) {
      address.searchParams.set("since", this.#last);
      address.searchParams.set("instance", this.#instance);
    }
    return address;
  }

  #receive(frame) {
    if (frame.kind === "hello") this.#instance = frame.instance;
    if (typeof frame.n === "number") this.#last = frame.n;
    if (frame.kind !== "pong") this.dispatchEvent(new CustomEvent("frame", { detail: frame }));
  }

  #lost(wasOpen) {
    if (!wasOpen) this.#failures += 1;
    if (this.#failures >= FAILURES_BEFORE_POLLING) this.#startPolling();
    if (!this.#poll) this.#report("lost");
    const backoff = Math.min(FIRST_WAIT * 2 ** this.#failures, LONGEST_WAIT);
    setTimeout(() => this.#connect(), this.#poll ? RETRY_WHILE_POLLING : backoff);
  }

  #send(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #startPolling() {
    if (this.#poll) return;
    const turn = { stopped: false };
    this.#poll = turn;
    const next = async () => {
      if (turn.stopped) return;
      try {
        const [{ jobs }, status] = await Promise.all([getJobs(RECENT_JOBS), getStatus()]);
        if (turn.stopped) return;
        this.#receive({ kind: "snapshot", job: null, jobs, status });
        this.#report("polling");
      } catch {
        this.#report("lost");
      }
      setTimeout(next, POLL_INTERVAL);
    };
    next();
  }

  #stopPolling() {
    if (this.#poll) this.#poll.stopped = true;
    this.#poll = null;
  }

  #report(connection) {
    if (connection === this.connection) return;
    this.connection = connection;
    this.dispatchEvent(new CustomEvent("connection", { detail: connection }));
  }
}
