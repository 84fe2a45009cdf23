// Boxes on an image: drawn, moved and resized by mouse, touch and keyboard. Coordinates are pixels of the image.

const SMALLEST = 8; // px on the screen: shorter drags are clicks
const STEP = 0.01; // of the image's longer side, for a key
const COLORS = 6;
const CORNERS = { nw: [0, 1], ne: [2, 1], sw: [0, 3], se: [2, 3] };

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export class BoxEditor {
  // stage: the element around the image, in which boxes are drawn; list: an ul; changed: called after every change.
  constructor(stage, list, changed) {
    Object.assign(this, { stage, list, changed, boxes: [], width: 1, height: 1, most: 48, drawing: false });
    stage.addEventListener("pointerdown", (event) => this.#startDrawing(event));
  }

  // Shows other boxes: people as [{box, score}], on an image of this size.
  show(width, height, people) {
    Object.assign(this, { width, height });
    this.boxes.forEach((one) => one.element.remove());
    this.boxes = [];
    this.list.replaceChildren();
    people.forEach((person) => this.#create(person.box, person.score));
    this.#update();
  }

  // Adds a box in the middle of the image and selects it.
  add() {
    if (this.boxes.length >= this.most) return;
    const [w, h] = [this.width, this.height];
    const one = this.#create([0.35 * w, 0.15 * h, 0.65 * w, 0.85 * h]);
    this.#update();
    one.row.focus();
  }

  // Whether a finger on the image draws a box, and does not scroll the page.
  setDrawing(on) {
    this.drawing = on;
    this.stage.classList.toggle("drawing", on);
    this.onDrawing?.(on);
  }

  get values() {
    return this.boxes.map((one) => one.box.map((side) => Math.round(side * 10) / 10));
  }

  #create(box, score = null) {
    const element = document.createElement("div");
    element.className = "box";
    const label = element.appendChild(document.createElement("span"));
    for (const corner of Object.keys(CORNERS)) {
      const handle = element.appendChild(document.createElement("i"));
      handle.className = corner;
      handle.dataset.corner = corner;
    }
    const row = document.createElement("li");
    row.tabIndex = 0;
    const name = row.appendChild(document.createElement("b"));
    const text = row.appendChild(document.createElement("span"));
    const button = row.appendChild(document.createElement("button"));
    button.type = "button";
    button.className = "remove";
    button.textContent = "\u00d7";
    const one = { box: [...box], score, found: score !== null, element, row, label, name, text, button };
    element.addEventListener("pointerdown", (event) => this.#startMoving(event, one));
    row.addEventListener("keydown", (event) => this.#key(event, one));
    row.addEventListener("focus", () => this.#select(one));
    row.addEventListener("mouseenter", () => this.#select(one));
    button.addEventListener("click", () => this.#remove(one));
    this.stage.append(element);
    this.list.append(row);
    this.boxes.push(one);
    return one;
  }

  #remove(one) {
    const number = this.boxes.indexOf(one);
    const hadFocus = one.row.contains(document.activeElement);
    this.boxes.splice(number, 1);
    one.element.remove();
    one.row.remove();
    this.#update();
    if (hadFocus) (this.boxes[number] ?? this.boxes[number - 1])?.row.focus();
    if (hadFocus && !this.boxes.length) this.onEmpty?.();
  }

  #select(one) {
    for (const other of this.boxes) {
      other.element.classList.toggle("selected", other === one);
      other.row.classList.toggle("selected", other === one);
    }
  }

  #update() {
    this.boxes.forEach((one, number) => {
      const [left, top, right, bottom] = one.box;
      const { style } = one.element;
      style.left = `${(100 * left) / this.width}%`;
      style.top = `${(100 * top) / this.height}%`;
      style.width = `${(100 * (right - left)) / this.width}%`;
      style.height = `${(100 * (bottom - top)) / this.height}%`;
      const color = `c${number % COLORS}`;
      const selected = one.element.classList.contains("selected") ? " selected" : "";
      one.element.className = `box ${color}${selected}`;
      one.row.className = color + selected;
      one.label.textContent = number + 1;
      one.name.textContent = `Person ${number + 1}`;
      const [w, h] = [Math.round(right - left), Math.round(bottom - top)];
      const origin = one.score === null ? "by hand" : `score ${one.score.toFixed(2)}`;
      one.text.textContent = `${w} \u00d7 ${h} px, ${origin}`;
      const place = `${w} by ${h} pixels at ${Math.round(left)}, ${Math.round(top)}`;
      one.row.setAttribute("aria-label", `Person ${number + 1}: ${place}, ${origin}`);
      one.button.setAttribute("aria-label", `Remove person ${number + 1}`);
    });
    this.changed(this.boxes.length);
  }

  // Takes a changed box; the detector's score was of the earlier one.
  #set(one, box) {
    one.box = box;
    one.score = null;
    this.#update();
  }

  #key(event, one) {
    if (event.target !== one.row) return;
    if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      this.#remove(one);
      return;
    }
    const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!direction || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const step = event.altKey ? 1 : Math.max(1, Math.round(STEP * Math.max(this.width, this.height)));
    const [dx, dy] = direction.map((sign) => sign * step);
    if (event.shiftKey) this.#resize(one, one.box, "se", dx, dy);
    else this.#move(one, one.box, dx, dy);
  }

  #move(one, [left, top, right, bottom], dx, dy) {
    dx = clamp(dx, Math.min(-left, 0), Math.max(this.width - right, 0));
    dy = clamp(dy, Math.min(-top, 0), Math.max(this.height - bottom, 0));
    this.#set(one, [left + dx, top + dy, right + dx, bottom + dy]);
  }

  #resize(one, start, corner, dx, dy) {
    const [x, y] = CORNERS[corner];
    const least = Math.max(4, STEP * Math.max(this.width, this.height));
    const box = [...start];
    box[x] = x ? clamp(start[2] + dx, start[0] + least, this.width) : clamp(start[0] + dx, 0, start[2] - least);
    box[y] = y === 3 ? clamp(start[3] + dy, start[1] + least, this.height) : clamp(start[1] + dy, 0, start[3] - least);
    this.#set(one, box);
  }

  #position(event) {
    const frame = this.stage.getBoundingClientRect();
    return [
      clamp(((event.clientX - frame.left) / frame.width) * this.width, 0, this.width),
      clamp(((event.clientY - frame.top) / frame.height) * this.height, 0, this.height),
    ];
  }

  // Calls `moved` with the pointer's place until it is released.
  #follow(event, moved, ended = () => {}) {
    event.preventDefault();
    event.stopPropagation();
    this.stage.setPointerCapture(event.pointerId);
    const move = (next) => next.pointerId === event.pointerId && moved(this.#position(next));
    const end = (next) => {
      if (next.pointerId !== event.pointerId) return;
      for (const name of ["pointermove", "pointerup", "pointercancel"]) {
        this.stage.removeEventListener(name, name === "pointermove" ? move : end);
      }
      ended();
    };
    this.stage.addEventListener("pointermove", move);
    this.stage.addEventListener("pointerup", end);
    this.stage.addEventListener("pointercancel", end);
  }

  #startMoving(event, one) {
    if (event.button) return;
    const [x, y] = this.#position(event);
    const start = [...one.box];
    const { corner } = event.target.dataset;
    one.row.focus({ preventScroll: true });
    this.#follow(event, ([toX, toY]) => {
      if (corner) this.#resize(one, start, corner, toX - x, toY - y);
      else this.#move(one, start, toX - x, toY - y);
    });
  }

  #startDrawing(event) {
    if (event.button || this.boxes.length >= this.most) return;
    if (event.pointerType === "touch" && !this.drawing) return; // a finger scrolls
    const [x, y] = this.#position(event);
    let drawn = null;
    const least = (SMALLEST / this.stage.clientWidth) * this.width;
    this.#follow(
      event,
      ([toX, toY]) => {
        const box = [Math.min(x, toX), Math.min(y, toY), Math.max(x, toX), Math.max(y, toY)];
        if (Math.min(box[2] - box[0], box[3] - box[1]) < least) return;
        if (!drawn) this.#select((drawn = this.#create(box)));
        this.#set(drawn, box);
      },
      () => {
        drawn?.row.focus({ preventScroll: true });
        if (drawn) this.setDrawing(false);
      },
    );
  }
}
