// A well: where a photograph is dropped, chosen or taken, and shown with the faces on it.
import { hasCamera, takePhotograph } from "./camera.js";
import { h, icon, ICONS, newId, s } from "./dom.js";
import * as numbers from "./numbers.js";

export class Well {
  // onchange(well) is called when there is another photograph, or none.
  constructor(title, most, onchange) {
    this.title = title;
    this.most = most;
    this.onchange = onchange;
    this.file = null;
    this.address = null;
    const id = newId("photograph");
    this.input = h("input", { type: "file", id, class: "unseen", accept: "image/*,.heic,.heif", onchange: () => this.take(this.input.files) });
    this.stage = h("div", { class: "stage" });
    this.about = h("div", { class: "about" });
    this.error = h("p", { role: "alert", class: "error" });
    this.choose = h("label", { class: "button", for: id }, h("span", {}, "Choose"), h("span", { class: "unseen" }, ` ${title.toLowerCase()}`));
    this.camera = h("button", { type: "button", "aria-label": `Take ${title.toLowerCase()} with the camera`, onclick: () => this.shoot() }, icon(ICONS.camera), "Camera");
    this.remove = h("button", { type: "button", class: "remove", hidden: true, "aria-label": `Remove ${title.toLowerCase()}`, onclick: () => this.clear() }, icon(ICONS.remove));
    this.node = h("section", { class: "well", "aria-label": title }, this.input, this.stage,
      h("div", { class: "row" }, this.choose, hasCamera() ? this.camera : null), this.remove, this.error, this.about);
    this.stage.addEventListener("click", () => this.input.click());
    for (const kind of ["dragenter", "dragover"]) {
      this.node.addEventListener(kind, (event) => { event.preventDefault(); this.node.classList.add("over"); });
    }
    for (const kind of ["dragleave", "drop"]) {
      this.node.addEventListener(kind, () => this.node.classList.remove("over"));
    }
    this.node.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      this.take(event.dataTransfer.files);
    });
    this.empty();
  }

  empty() {
    this.stage.replaceChildren(h("div", { class: "invite" }, icon(ICONS.picture), h("span", {}, this.title), h("span", { class: "quiet" }, "Drop it here")));
    this.stage.classList.remove("full");
    this.about.replaceChildren();
    this.remove.hidden = true;
  }

  async shoot() {
    const photograph = await takePhotograph();
    this.camera.focus();
    if (photograph) this.take([photograph]);
  }

  take(files) {
    const file = files?.[0];
    if (!file) return;
    this.onmore?.([...files].slice(1));
    this.error.textContent = "";
    this.about.replaceChildren();
    this.show(file);
    this.file = null;
    if (file.size > this.most) this.fail(`This file has ${numbers.megabytes(file.size)}; at most ${numbers.megabytes(this.most)} are taken. Save it smaller.`);
    else if (!file.size) this.fail("This file is empty; choose another one.");
    else this.file = file;
    this.input.value = "";
    this.onchange(this);
  }

  // The browser's own picture, until the server has answered.
  show(file) {
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = URL.createObjectURL(file);
    const picture = h("img", { src: this.address, alt: this.title });
    picture.addEventListener("error", () => picture.replaceWith(h("div", { class: "invite" }, icon(ICONS.picture), h("span", { class: "quiet" }, file.name || this.title))));
    this.stage.replaceChildren(picture);
    this.stage.classList.add("full");
    this.remove.hidden = false;
  }

  // What the server has seen: the picture, boxes of faces, of which the first is compared.
  showSeen(seen, numbered = false) {
    const unit = Math.max(seen.width, seen.height) / 100;
    const boxes = seen.boxes.map(([left, top, right, bottom], place) => [
      s("rect", { x: left, y: top, width: right - left, height: bottom - top, rx: unit, class: place && !numbered ? "box other" : "box" }),
      numbered && seen.boxes.length > 1
        ? s("text", { x: left + unit, y: Math.max(top - unit, 6 * unit), "font-size": 6 * unit, class: "boxnumber" }, String(place + 1))
        : null,
    ]);
    const faces = seen.boxes.length;
    const words = `${this.title}, ${faces} ${faces === 1 ? "face" : "faces"} found`;
    this.stage.replaceChildren(
      h("img", { src: seen.shown, alt: words }),
      s("svg", { viewBox: `0 0 ${seen.width} ${seen.height}`, class: "boxes", "aria-hidden": "true" }, boxes.flat()),
    );
  }

  showFace(seen) {
    const notes = [];
    if (seen.faces === 0) notes.push("no face was found; the whole image was compared, for which no threshold was calibrated");
    if (seen.faces > 1) notes.push(`${seen.faces} faces were found; the one in the full box was compared`);
    this.about.replaceChildren(faceNote(seen, notes));
  }

  fail(message) {
    this.error.textContent = numbers.sentence(message);
  }

  clear() {
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = this.file = null;
    this.error.textContent = "";
    this.empty();
    this.input.focus();
    this.onchange(this);
  }
}

// The chip, what is known of the photograph, and what is poor about it.
export function faceNote(seen, notes = []) {
  const q = seen.quality;
  const known = [];
  if (q?.width) known.push(`${Math.round(q.width)} pixels wide`);
  if (q && q.yaw !== null) known.push(`turned ${Math.round(q.yaw)}°`);
  if (q && q.sharpness !== null) known.push(`sharpness ${q.sharpness.toPrecision(2)}`);
  const warnings = [...(q?.warnings ?? []), ...notes];
  return h("div", { class: "chip" },
    h("img", { src: seen.chip, alt: "What the network sees", width: 72, height: 72 }),
    h("div", {},
      h("p", { class: "quiet" }, "What the network sees"),
      known.length ? h("p", { class: "small" }, known.join(" · ")) : null,
      warnings.map((text) => h("p", { class: "warning" }, icon(ICONS.warning), h("span", {}, text)))));
}
