// What pointers do on the stage: paint, pan, pinch, zoom. Turns events into calls and knows no layers.

const TWO_FINGERS = 2;
const MIDDLE = 1;
const RIGHT = 2;
const ZOOM_PER_NOTCH = 1.15;
const LIGHTEST_PEN = 0.2;  // share of the brush that is left at no pressure

/**
 * `does`: {begin(point, isErasing), move(points), end(), cancel(), resize(steps), hover(event or null), isHand(),
 * usesPressure()}; points are {x, y, pressure} in pixels of the picture.
 */
export class Hand {
  #pointers = new Map();
  #doing = null;  // "paint" | "pan" | "pinch"
  #held = new Set();

  constructor(stage, view, does) {
    Object.assign(this, { stage, view, does });
    const on = (type, listener, options) => stage.addEventListener(type, listener.bind(this), options);
    on("pointerdown", this.#down);
    on("pointermove", this.#move);
    for (const type of ["pointerup", "pointercancel"]) on(type, this.#up);
    on("pointerleave", () => this.does.hover(null));
    on("wheel", this.#wheel, { passive: false });
    on("contextmenu", (event) => view.size && event.preventDefault());
    on("keydown", ({ code }) => this.#held.add(code));
    on("keyup", ({ code }) => this.#held.delete(code));
    on("blur", () => this.#held.clear());
  }

  get isBusy() {
    return this.#doing === "paint";
  }

  #down(event) {
    if (!this.view.size || event.target.closest("button, label")) return;
    this.stage.focus({ preventScroll: true });
    event.preventDefault();  // no text is selected and no middle click scrolls
    this.stage.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, event);
    if (this.#pointers.size === TWO_FINGERS) {
      if (this.#doing === "paint") this.does.cancel();  // the first finger meant to pinch
      this.#doing = "pinch";
    } else if (this.#pointers.size === 1) {
      const isPan = event.button === MIDDLE || this.#held.has("Space") || this.#held.has("KeyF") || this.does.isHand();
      this.#doing = isPan ? "pan" : "paint";
      if (!isPan) this.does.begin(this.#point(event), event.button === RIGHT);
    }
    this.does.hover(event);
  }

  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    this.does.hover(event);
    if (!before) return;
    if (this.#doing === "paint") {
      const all = event.getCoalescedEvents?.() ?? [];
      this.does.move((all.length ? all : [event]).map((each) => this.#point(each)));
    } else if (this.#doing === "pan") {
      this.view.pan(event.clientX - before.clientX, event.clientY - before.clientY);
    } else if (this.#doing === "pinch" && this.#pointers.size === TWO_FINGERS) {
      this.#pinch(event, before);
    }
    this.#pointers.set(event.pointerId, event);
  }

  #up(event) {
    if (!this.#pointers.delete(event.pointerId)) return;
    if (this.#doing === "paint") {
      if (event.type === "pointercancel") this.does.cancel();
      else this.does.end();
    }
    // The finger that stays after a pinch does not paint.
    this.#doing = this.#pointers.size ? "pinch" : null;
    if (event.pointerType === "touch") this.does.hover(null);
  }

  #pinch(event, before) {
    const [other] = [...this.#pointers.values()].filter(({ pointerId }) => pointerId !== event.pointerId);
    const apart = ({ clientX, clientY }) => Math.hypot(clientX - other.clientX, clientY - other.clientY) || 1;
    this.view.pan((event.clientX - before.clientX) / 2, (event.clientY - before.clientY) / 2);
    const [x, y] = [(event.clientX + other.clientX) / 2, (event.clientY + other.clientY) / 2];
    this.view.zoom(apart(event) / apart(before), x, y);
  }

  #wheel(event) {
    if (!this.view.size) return;
    event.preventDefault();
    const notches = Math.max(-3, Math.min(3, -event.deltaY / (event.deltaMode ? 3 : 100)));
    // A pinch on a trackpad arrives as a wheel with Ctrl and small steps.
    if (event.ctrlKey && Math.abs(event.deltaY) >= 50) this.does.resize(Math.sign(notches));
    else this.view.zoom(ZOOM_PER_NOTCH ** (event.ctrlKey ? notches * 10 : notches), event.clientX, event.clientY);
    this.does.hover(event);
  }

  #point(event) {
    const isPen = event.pointerType === "pen" && this.does.usesPressure();
    const pressure = isPen ? LIGHTEST_PEN + (1 - LIGHTEST_PEN) * event.pressure : 1;
    return { ...this.view.at(event.clientX, event.clientY), pressure };
  }
}
