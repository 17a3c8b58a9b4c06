// Images that lie over each other and are zoomed and moved in step, by wheel, pinch, drag or `zoom`.

const MOST = 16;

export class ZoomedPair {
  #scale = 1;
  #x = 0;
  #y = 0;
  #fingers = new Map();  // id of a pointer -> where it was

  /** `stage` takes the gestures and carries --zoom, --x and --y for the `images` in it. */
  constructor(stage, images) {
    this.stage = stage;
    this.images = images;
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#fingers.has(event.pointerId) && this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => this.#fingers.delete(event.pointerId));
  }

  fit() {
    [this.#scale, this.#x, this.#y] = [1, 0, 0];
    this.#apply();
  }

  /** So many times as large, around a place of the stage; around its middle when none is named. */
  zoom(factor, at = null) {
    const { left, top, width, height } = this.stage.getBoundingClientRect();
    const [x, y] = at ? [at.x - left - width / 2, at.y - top - height / 2] : [0, 0];
    const scale = Math.min(MOST, Math.max(1, this.#scale * factor));
    const real = scale / this.#scale;
    this.#x = x - (x - this.#x) * real;
    this.#y = y - (y - this.#y) * real;
    this.#scale = scale;
    this.#apply();
  }

  #wheel(event) {
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / 400), { x: event.clientX, y: event.clientY });
  }

  #down(event) {
    if (event.button !== 0) return;
    this.stage.setPointerCapture(event.pointerId);
    this.#fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  }

  #move(event) {
    const before = this.#fingers.get(event.pointerId);
    const now = { x: event.clientX, y: event.clientY };
    const [other] = [...this.#fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    this.#fingers.set(event.pointerId, now);
    if (other) {
      const apart = (place) => Math.max(1, Math.hypot(place.x - other.x, place.y - other.y));
      this.zoom(apart(now) / apart(before), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
    } else {
      this.#x += now.x - before.x;
      this.#y += now.y - before.y;
      this.#apply();
    }
  }

  #apply() {
    const { width, height } = this.stage.getBoundingClientRect();
    const [mostX, mostY] = [width, height].map((side) => (side * (this.#scale - 1)) / 2);
    this.#x = Math.min(mostX, Math.max(-mostX, this.#x));
    this.#y = Math.min(mostY, Math.max(-mostY, this.#y));
    for (const [name, value] of [["--zoom", this.#scale], ["--x", `${this.#x}px`], ["--y", `${this.#y}px`]]) this.stage.style.setProperty(name, value);
  }
}
