// How the threshold is chosen: a policy, its rate, for whom it is promised, and how many are genuine.
import { h, newId } from "./dom.js";
import * as numbers from "./numbers.js";

const OWN = "own";
const GIVEN = "given";
const CONFIDENCE = 0.95;
const STEPS = 400;
const PAUSE = 80;

// Numbers that are easily read: 0.001, 0.0015, 0.002 ...
function byFactors(low, high) {
  const found = [];
  for (let power = Math.round(Math.log10(low)); 10 ** power <= high; power += 1) {
    for (const digits of [1, 1.5, 2, 3, 5, 7]) found.push(Number(`${digits}e${power}`));
  }
  return found.filter((each) => each >= low && each <= high);
}

function evenly(low, high, step) {
  const count = Math.round((high - low) / step);
  return Array.from({ length: count + 1 }, (_, i) => Number((low + (i * (high - low)) / count).toFixed(6)));
}

// A slider with its label and its value in words.
export function slider({ label, low, high, log, value, step, words, oninput }) {
  const id = newId("slider");
  const shown = h("output", { for: id });
  const values = log ? byFactors(low, high) : evenly(low, high, step);
  const input = h("input", { type: "range", id, min: 0, max: values.length - 1, step: 1 });
  const read = () => values[Number(input.value)];
  const refresh = () => {
    const text = words(read());
    shown.textContent = text;
    input.setAttribute("aria-valuetext", text);
  };
  const away = values.map((each) => Math.abs(each - value));
  input.value = away.indexOf(Math.min(...away));
  input.addEventListener("input", () => { refresh(); oninput(); });
  refresh();
  return { node: h("div", { class: "slider" }, h("label", { for: id }, label), shown, input), read };
}

export function checkbox(text, onchange) {
  const input = h("input", { type: "checkbox", onchange });
  return { node: h("label", { class: "check" }, input, h("span", {}, text)), input };
}

export function later(work) {
  let timer = null;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, PAUSE);
  };
}

export class PolicyPanel {
  // onchange({policy, threshold}) is called a moment after the last change.
  constructor(facts, onchange) {
    this.facts = facts;
    this.changed = later(() => onchange(this.wanted()));
    this.sliders = [];
    const own = facts.at;
    const title = own.policy === GIVEN ? "a distance that was given" : own.title;
    this.select = h("select", { id: newId("policy"), onchange: () => { this.rebuild(); this.changed(); } },
      h("option", { value: OWN }, `As the bundle has it (${title})`),
      facts.policies.map((each) => h("option", { value: each.name }, each.title)),
      h("option", { value: GIVEN }, "A distance of my own"));
    this.says = h("p", { class: "quiet small" });
    this.settings = h("div", { class: "settings" });
    this.error = h("p", { role: "alert", class: "error" });
    this.promise = h("p", { class: "small promise" });
    this.node = h("section", { class: "card policy" }, h("h2", {}, "The threshold"),
      h("label", { for: this.select.id }, "How it is chosen"), this.select, this.says, this.settings, this.promise, this.error);
    this.rebuild();
  }

  rebuild() {
    const chosen = this.facts.policies.find((each) => each.name === this.select.value);
    this.sliders = [];
    this.confidence = this.prevalence = null;
    const nodes = [];
    if (this.select.value === GIVEN) {
      const edges = this.facts.histogram?.edges ?? [0, 2 * this.facts.at.threshold || 1];
      const [low, high] = [edges[0], edges.at(-1)];
      const one = slider({ label: "Accept up to this distance", low, high, value: this.facts.at.threshold, step: (high - low) / STEPS, words: numbers.distance, oninput: this.changed });
      this.sliders.push(["threshold", one]);
    }
    for (const each of chosen?.sliders ?? []) {
      const words = each.name === "rate" && each.log ? numbers.rateInWords : String;
      this.sliders.push([each.name, slider({ ...each, step: 0.005, words, oninput: this.changed })]);
    }
    nodes.push(...this.sliders.map(([, one]) => one.node));
    if (chosen?.confidence) {
      this.confidence = checkbox("Promise it for other people, with 95 % confidence", this.changed);
      nodes.push(this.confidence.node);
    }
    if (chosen?.prevalence) nodes.push(this.prevalenceNode());
    this.settings.replaceChildren(...nodes);
  }

  prevalenceNode() {
    const stated = this.facts.at.stated_prevalence;
    const shares = [0.5, 0.1, 0.01, 0.001];
    if (stated && !shares.includes(stated)) shares.unshift(stated);
    const id = newId("prevalence");
    this.prevalence = h("select", { id, onchange: this.changed },
      h("option", { value: "observed" }, "as on the calibration pairs"),
      shares.map((share) => h("option", { value: share }, share === 0.5 ? "half of them" : numbers.oneIn(share))));
    this.prevalence.value = stated ?? "observed";
    const same = this.facts.words.same;
    return h("div", {}, h("label", { for: id }, `Of the pairs to come, the ${same} is on`), this.prevalence);
  }

  wanted() {
    if (this.select.value === OWN) return { policy: null, threshold: null };
    const values = Object.fromEntries(this.sliders.map(([name, one]) => [name, one.read()]));
    if (this.select.value === GIVEN) return { policy: null, ...values };
    const policy = { name: this.select.value, ...values };
    if (this.confidence?.input.checked) policy.confidence = CONFIDENCE;
    const share = this.prevalence?.value;
    if (share) policy.prevalence = share === "observed" ? share : Number(share);
    return { policy, threshold: null };
  }

  // at: the threshold that is in force now.
  show(at) {
    this.error.textContent = "";
    this.says.textContent = numbers.sentence(at.chosen);
    this.promise.textContent = at.promise ? `Promise: ${numbers.plain(at.promise)}.` : "";
  }

  fail(message, at) {
    this.promise.textContent = "";
    this.error.textContent = `${numbers.sentence(message)} (The threshold stays at ${numbers.distance(at.threshold)}.)`;
  }
}
