// The third tab: the figures of a folder of people.
import { BASELINE, countsTable, figuresTable } from "./counts.js";
import { h, say } from "./dom.js";
import * as numbers from "./numbers.js";
import { PolicyPanel } from "./policy.js";
import { get, latest, post, Trouble } from "./server.js";

const PAUSE = 700;

export class Figures {
  constructor(root, facts) {
    if (!facts.folder) return root.append(howTo());
    this.facts = facts;
    this.state = h("section", { class: "card", "aria-label": "The folder" });
    this.result = h("div", { class: "columns", hidden: true });
    root.append(this.state, this.result);
    this.asked = latest((signal, wanted) => post("/api/figures", wanted, signal));
    this.follow();
  }

  async follow() {
    try {
      const found = await get("/api/folder");
      this.showState(found);
      if (found.state === "running") return setTimeout(() => this.follow(), PAUSE);
      if (found.state === "done") this.showResult(found);
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      this.state.replaceChildren(h("p", { role: "alert", class: "error" }, error.message));
    }
  }

  showState(found) {
    const title = h("h2", {}, found.name);
    if (found.state === "failed") {
      say("The evaluation failed");
      return this.state.replaceChildren(title, h("p", { role: "alert", class: "error" }, found.error));
    }
    if (found.state === "running") {
      const known = found.total ? { value: found.done / found.total, max: 1 } : {};
      const count = found.total && found.doing === "cropping" ? `: ${numbers.whole(found.done)} of ${numbers.whole(found.total)} images` : "";
      const words = `${found.doing[0].toUpperCase()}${found.doing.slice(1)}${count} …`;
      const bar = h("progress", { max: known.max, "aria-label": words });
      if (found.total) bar.value = known.value;
      return this.state.replaceChildren(title, h("p", { class: "quiet" }, words), bar);
    }
    const { words } = this.facts;
    const tile = (n, what) => h("div", { class: "tile" }, h("b", {}, numbers.whole(n)), h("span", {}, what));
    const left = Object.entries(found.left_out).map(([why, n]) => `${numbers.whole(n)} images left out (${why === "bad" ? "not readable" : "no face, or several"}).`);
    this.state.replaceChildren(title,
      h("div", { class: "tiles" }, tile(found.people, words.one === "person" ? "people" : "identities"), tile(found.images, "images"),
        tile(found.genuine, `pairs of the ${words.same}`), tile(found.impostor, `pairs of ${words.different}`)),
      ...[...left, ...found.notes].map((text) => h("p", { class: "small quiet" }, numbers.plain(text))));
  }

  showResult(found) {
    say("The figures are there");
    this.found = found;
    this.at = this.facts.at;
    this.counts = h("section", { class: "card", "aria-label": "Figures at this threshold" });
    this.panel = new PolicyPanel(this.facts, (wanted) => this.choose(wanted));
    this.result.replaceChildren(this.counts, this.panel.node);
    this.result.hidden = false;
    this.panel.show(this.at);
    this.show(found.at);
  }

  async choose(wanted) {
    try {
      const found = await this.asked(wanted);
      if (!found) return;
      this.at = found.at;
      this.panel.show(found.at);
      this.show(found.folder);
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      this.panel.fail(error.message, this.at);
    }
  }

  show(at) {
    const { auc, eer, ci95 } = this.found;
    const { words } = this.facts;
    const share = at.prevalence ? ` Precision, F1 and accuracy: where ${numbers.share(at.prevalence)} of the pairs show the ${words.same}.` : "";
    this.counts.replaceChildren(
      h("h2", {}, `At the threshold ${numbers.distance(at.threshold)}`),
      countsTable(at, words),
      figuresTable(at, [["Area under the ROC curve", auc, ci95.auc, 0.5], ["Equal error rate", eer, ci95.eer, 0.5]]),
      h("p", { class: "quiet small" }, `${BASELINE} The threshold is chosen on the calibration pairs of the bundle, never on this folder.${share}`));
  }
}

function howTo() {
  return h("section", { class: "card how" }, h("h2", {}, "No people were given"),
    h("p", {}, "Start the page with a folder that has a folder of photographs for each person, or with a CSV file (path, identity):"),
    h("pre", {}, h("code", {}, "siamese app --data PEOPLE")),
    h("p", { class: "quiet" }, "It is evaluated once, in the background, at the thresholds of the bundle."));
}
