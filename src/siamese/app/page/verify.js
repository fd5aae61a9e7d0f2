// The first tab: two photographs, and the threshold that judges them.
import { Chart } from "./chart.js";
import { countsTable, figuresTable, onWhat } from "./counts.js";
import { h, icon, ICONS, say } from "./dom.js";
import * as numbers from "./numbers.js";
import { PolicyPanel } from "./policy.js";
import { latest, post, send, Trouble } from "./server.js";
import { Well } from "./well.js";

export class Verify {
  constructor(root, facts) {
    this.facts = facts;
    this.at = facts.at;
    this.seen = null;
    this.wells = ["First photograph", "Second photograph"].map((title) => new Well(title, facts.most, (well) => this.compare(well)));
    this.wells.forEach((well, place) => (well.onmore = (files) => files.length && this.wells[1 - place].take(files.slice(0, 1))));
    this.verdict = h("section", { class: "card verdict", "aria-label": "Verdict" });
    this.counts = h("section", { class: "card", "aria-label": "What this threshold does" });
    this.panel = new PolicyPanel(facts, (wanted) => this.choose(wanted));
    this.chart = facts.histogram ? new Chart(facts.histogram, facts.words) : null;
    root.append(...[
      h("div", { class: "pair" }, this.wells.map((well) => well.node)),
      facts.compared ? h("p", { class: "quiet small" }, `This bundle looks for no face: ${facts.compared} is compared, as in its training.`) : null,
      this.verdict,
      this.chart ? h("section", { class: "card", "aria-label": "Distances of the calibration pairs" }, h("h2", {}, "Where the distance lies"), this.chart.node) : null,
      h("div", { class: "columns" }, this.panel.node, this.counts)].filter(Boolean));
    root.addEventListener("dragover", (event) => event.preventDefault());
    root.addEventListener("drop", (event) => {
      event.preventDefault();
      const place = this.wells[0].file ? 1 : 0;
      this.wells[place].take(event.dataTransfer.files);
    });
    this.sent = latest((signal, files) => send(`/api/verify?first=${files[0].size}`, files, signal));
    this.asked = latest((signal, wanted) => post("/api/judge", wanted, signal));
    this.invite();
    this.showPoint(this.at);
  }

  invite() {
    const missing = this.wells.filter((well) => !well.file).length;
    const text = missing === 2 ? "Give two photographs, and the verdict stands here." : missing ? "One photograph more." : "";
    this.verdict.replaceChildren(h("p", { class: "quiet" }, text));
    this.verdict.className = "card verdict";
  }

  async compare() {
    this.seen = null;
    this.chart?.update({ distance: null });
    const files = this.wells.map((well) => well.file);
    if (files.includes(null)) return this.invite();
    this.wells.forEach((well) => (well.error.textContent = ""));
    this.verdict.replaceChildren(h("p", { class: "quiet busy" }, "Comparing …"));
    this.verdict.className = "card verdict";
    say("Comparing");
    try {
      const found = await this.sent(files);
      if (!found) return;
      this.seen = { distance: found.verdict.distance, faces: found.verdict.faces };
      found.photographs.forEach((seen, place) => {
        this.wells[place].showSeen(seen);
        this.wells[place].showFace(seen);
      });
      const wanted = this.panel.wanted();
      if (wanted.policy || wanted.threshold !== null) await this.choose(wanted, found);
      else this.showAll(found);
    } catch (error) {
      this.fail(error);
    }
  }

  async choose(wanted, otherwise = null) {
    try {
      const found = await this.asked({ ...wanted, ...(this.seen ?? {}) });
      if (!found) return;
      this.panel.show(found.at);
      this.showAll(found);
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      if (otherwise) this.showAll(otherwise);
      this.panel.fail(error.message, this.at);
    }
  }

  showAll(found) {
    this.showPoint(found.at);
    if (found.verdict) this.showVerdict(found);
  }

  showPoint(at) {
    this.at = at;
    this.panel.show(at);
    this.chart?.update({ at, distance: this.seen?.distance ?? null });
    const known = at.counts
      ? [countsTable(at, this.facts.words), figuresTable(at), h("p", { class: "quiet small" }, onWhat(at, this.facts.words))]
      : [h("p", { class: "quiet" }, "This bundle keeps no calibration pairs, so that nothing is known of this threshold.")];
    this.counts.replaceChildren(h("h2", {}, "What it does"), ...known);
  }

  showVerdict({ verdict, contradiction, at }) {
    const { words } = this.facts;
    const name = verdict.same ? words.same : words.different;
    const title = name[0].toUpperCase() + name.slice(1);
    const sign = verdict.same ? "≤" : ">";
    const arithmetic = `distance ${numbers.distance(verdict.distance)} ${sign} threshold ${numbers.distance(verdict.threshold)}`;
    const lines = [];
    if (verdict.probability !== null) {
      lines.push(h("p", { class: "chance" }, h("b", {}, numbers.percent(verdict.probability)), ` probability of the ${words.same}, if ${numbers.share(verdict.prevalence)} of all pairs show one`));
    }
    if (verdict.uncertain && at.band) {
      lines.push(h("p", { class: "warning" }, icon(ICONS.warning), h("span", {}, `Uncertain: the distance lies in the 95 % interval of the threshold (${at.band.map(numbers.distance).join(" to ")}). Calibrated on other ${words.one === "person" ? "people" : "identities"}, the verdict may be the other one.`)));
    }
    if (contradiction) lines.push(h("p", { class: "small quiet" }, contradiction));
    this.verdict.className = `card verdict ${verdict.same ? "same" : "different"}${verdict.uncertain ? " uncertain" : ""}`;
    this.verdict.replaceChildren(
      h("div", { class: "answer" }, h("span", { class: "mark" }, icon(verdict.same ? ICONS.same : ICONS.different)),
        h("div", {}, h("h2", {}, title), h("p", { class: "numbers" }, arithmetic))),
      ...lines);
    say(`${title}: ${arithmetic}${verdict.uncertain ? ". Uncertain" : ""}`);
  }

  fail(error) {
    if (!(error instanceof Trouble)) throw error;
    if (error.photograph !== null) {
      this.wells[error.photograph].fail(error.message);
      this.verdict.replaceChildren(h("p", { class: "quiet" }, "Not compared."));
    } else {
      this.verdict.replaceChildren(h("p", { role: "alert", class: "error" }, error.message),
        h("button", { type: "button", onclick: () => this.compare() }, "Try again"));
    }
    say("Not compared");
  }
}
