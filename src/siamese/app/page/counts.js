// What a threshold does on pairs that are known: counts, and figures beside what needs no network.
import { h } from "./dom.js";
import * as numbers from "./numbers.js";

const TITLES = { recall: "Recall", fmr: "False match rate", precision: "Precision", f1: "F1", accuracy: "Accuracy" };

export const BASELINE = "One verdict for all: every pair is accepted (accuracy: the better of accepting and refusing all).";

export function countsTable(at, words) {
  const { tp, fp, fn, tn } = at.counts;
  const cell = (n, what, right) => h("td", { class: right ? "right" : "wrong" }, numbers.whole(n), h("small", {}, what));
  return h("div", { class: "scroll" }, h("table", { class: "counts" },
    h("caption", { class: "unseen" }, "Verdicts on the pairs at this threshold"),
    h("thead", {}, h("tr", {}, h("td", {}), h("th", { scope: "col" }, "accepted"), h("th", { scope: "col" }, "refused"))),
    h("tbody", {},
      h("tr", {}, h("th", { scope: "row" }, words.same), cell(tp, "true matches", true), cell(fn, "missed", false)),
      h("tr", {}, h("th", { scope: "row" }, words.different), cell(fp, "false matches", false), cell(tn, "rightly refused", true)))));
}

export function figuresTable(at, more = []) {
  const intervals = Object.keys(at.ci95).length > 0;
  const rows = Object.entries(at.figures).map(([name, value]) => [TITLES[name] ?? name, value, at.ci95[name], at.one_verdict?.[name] ?? null]);
  return h("div", { class: "scroll" }, h("table", { class: "figures" },
    h("caption", { class: "unseen" }, "Figures at this threshold"),
    h("thead", {}, h("tr", {}, h("td", {}), h("th", { scope: "col" }, "here"), h("th", { scope: "col" }, "95 % interval"), h("th", { scope: "col" }, "one verdict for all"))),
    h("tbody", {}, [...rows, ...more].map(([title, value, ends, baseline]) =>
      h("tr", {}, h("th", { scope: "row" }, title), h("td", {}, numbers.rate(value)), h("td", {}, intervals || ends ? numbers.interval(ends, value) : "not known"),
        h("td", {}, baseline === null || baseline === undefined ? "–" : numbers.rate(baseline)))))));
}

export function onWhat(at, words) {
  const people = at.identities ? ` of ${numbers.whole(at.identities)} ${words.one === "person" ? "people" : "identities"}` : "";
  const share = at.prevalence ? ` Precision, F1 and accuracy: where ${numbers.share(at.prevalence)} of the pairs show the ${words.same}.` : "";
  return `${BASELINE} On the ${numbers.whole(at.genuine + at.impostor)} pairs${people} that the threshold was chosen on (${at.split}).${share}`;
}
