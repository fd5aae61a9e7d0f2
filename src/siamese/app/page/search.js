// The second tab: whom each face on a photograph shows, among those who are enrolled.
import { h, icon, ICONS, say } from "./dom.js";
import * as numbers from "./numbers.js";
import { checkbox, later, slider } from "./policy.js";
import { latest, post, send, Trouble } from "./server.js";
import { faceNote, Well } from "./well.js";

export class Search {
  constructor(root, facts) {
    if (!facts.gallery) return root.append(howTo());
    this.gallery = facts.gallery;
    this.limit = facts.gallery.limit;
    this.found = null;
    this.well = new Well("Photograph", facts.most, () => this.search());
    this.results = h("section", { class: "card", "aria-label": "Who is on it" });
    this.words = h("p", { class: "small quiet" });
    this.error = h("p", { role: "alert", class: "error" });
    const changed = later(() => this.choose());
    this.rate = slider({ label: "Searches that may name somebody who is not enrolled", low: 1e-4, high: 0.5, log: true, value: this.limit.rate, words: numbers.rateInWords, oninput: changed });
    this.confidence = checkbox("Promise it for other people, with 95 % confidence", changed);
    this.threshold = h("p", { class: "numbers" });
    const slid = this.gallery.calibrated ? [this.rate.node, this.confidence.node] : [];
    const policy = h("section", { class: "card policy" }, h("h2", {}, "When somebody is named"), slid, this.threshold, this.words, this.error);
    root.append(h("div", { class: "columns search" }, h("div", { class: "stack" }, this.well.node, policy), this.results));
    this.sent = latest((signal, file) => send("/api/search", [file], signal));
    this.asked = latest((signal, wanted) => post("/api/search/limit", wanted, signal));
    this.invite();
    this.showLimit(this.limit);
  }

  invite() {
    const { people, photographs } = this.gallery;
    this.results.replaceChildren(h("p", { class: "quiet" }, `${numbers.whole(people)} people are enrolled, with ${numbers.whole(photographs)} photographs. Give a photograph: every face on it is searched.`));
  }

  async search() {
    this.found = null;
    if (!this.well.file) return this.invite();
    this.results.replaceChildren(h("p", { class: "quiet busy" }, "Searching …"));
    say("Searching");
    try {
      const found = await this.sent(this.well.file);
      if (!found) return;
      this.found = found;
      this.well.showSeen(found.photograph, true);
      const accepted = found.faces.map((face) => face.candidates.map((one) => one.accepted));
      this.showFaces(accepted);
      await this.choose();
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      this.well.fail(error.message);
      this.results.replaceChildren(h("p", { class: "quiet" }, "Not searched."));
      say("Not searched");
    }
  }

  async choose() {
    const distances = (this.found?.faces ?? []).map((face) => face.candidates.map((one) => one.distance));
    const wanted = { distances, rate: this.gallery.calibrated ? this.rate.read() : 0.01 };
    if (this.confidence.input.checked) wanted.confidence = 0.95;
    try {
      const found = await this.asked(wanted);
      if (!found) return;
      this.showLimit(found.limit);
      if (this.found) this.showFaces(found.accepted);
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      this.error.textContent = `${numbers.sentence(error.message)} (The threshold stays at ${numbers.distance(this.limit.threshold)}.)`;
    }
  }

  showLimit(limit) {
    this.limit = limit;
    this.error.textContent = "";
    this.threshold.textContent = `threshold ${numbers.distance(limit.threshold)}`;
    this.words.textContent = numbers.sentence(limit.words);
  }

  showFaces(accepted) {
    const faces = this.found.faces.map((face, place) => this.face(face, accepted[place], place));
    this.results.replaceChildren(...faces);
    const names = this.found.faces.map((face, place) => (accepted[place][0] ? [face.candidates[0].name, ...equallyNear(face)].join(" or ") : "nobody enrolled"));
    say(`${names.length} ${names.length === 1 ? "face" : "faces"}: ${names.join(", ")}`);
  }

  face(face, accepted, place) {
    const named = accepted[0];
    const title = named ? face.candidates[0].name : "Nobody enrolled";
    const many = this.found.faces.length > 1;
    const tied = equallyNear(face);
    return h("article", { class: named ? "found named" : "found" },
      h("h2", {}, many ? h("span", { class: "number" }, String(place + 1)) : null, title),
      tied.length ? h("p", { class: "warning tie" }, icon(ICONS.warning), h("span", {}, `equally near: ${tied.join(", ")}`)) : null,
      faceNote(face),
      h("div", { class: "scroll" }, h("table", { class: "nearest" },
        h("caption", { class: "unseen" }, "The nearest people"),
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "nearest people"), h("th", { scope: "col" }, "distance"), h("th", { scope: "col" }, "accepted"))),
        h("tbody", {}, face.candidates.map((one, i) =>
          h("tr", { class: accepted[i] ? "accepted" : null }, h("th", { scope: "row" }, one.name), h("td", {}, numbers.distance(one.distance)),
            h("td", {}, accepted[i] ? [icon(ICONS.same), "yes"] : "no")))))));
  }
}

// Names of those who are just as near as the first.
function equallyNear({ candidates: [first, ...others] }) {
  return others.filter((one) => one.distance === first.distance).map((one) => one.name);
}

function howTo() {
  return h("section", { class: "card how" }, h("h2", {}, "No gallery was given"),
    h("p", {}, "Enrol people first, from a folder that has a folder of photographs for each of them. Then start the page with that gallery:"),
    h("pre", {}, h("code", {}, "siamese enrol my_gallery PEOPLE\nsiamese app --gallery my_gallery")),
    h("p", { class: "quiet" }, "This page only searches; it enrols nobody and removes nobody."));
}
