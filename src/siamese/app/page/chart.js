// The calibration pairs by distance, with the threshold and the distance of two photographs.
import { h, s } from "./dom.js";
import * as numbers from "./numbers.js";

const HEIGHT = 250;
const TOP = 58;
const BOTTOM = 34;
const SIDE = 10;

export class Chart {
  constructor(histogram, words) {
    this.histogram = histogram;
    this.words = words;
    this.state = {};
    this.node = h("figure", { class: "chart" });
    new ResizeObserver(() => this.draw()).observe(this.node);
  }

  // at: the threshold's facts; distance: of two photographs, or null.
  update(state) {
    this.state = { ...this.state, ...state };
    this.draw();
  }

  draw() {
    const width = this.node.clientWidth;
    const { at, distance = null } = this.state;
    if (!width || !at) return;
    const edges = this.histogram.edges;
    const low = Math.min(edges[0], at.threshold, distance ?? Infinity);
    const high = Math.max(edges.at(-1), at.threshold, distance ?? -Infinity);
    const x = (d) => SIDE + ((d - low) / (high - low)) * (width - 2 * SIDE);
    const base = HEIGHT - BOTTOM;
    const shares = ["impostor", "genuine"].map((kind) => {
      const counts = this.histogram[kind];
      const all = counts.reduce((a, b) => a + b, 0) || 1;
      return [kind, counts.map((n) => n / all)];
    });
    const most = Math.max(...shares.flatMap(([, each]) => each));
    const y = (share) => base - (share / most) * (base - TOP);
    const area = (each) => {
      const steps = each.map((share, i) => `L${x(edges[i])} ${y(share)}L${x(edges[i + 1])} ${y(share)}`);
      return `M${x(edges[0])} ${base}${steps.join("")}L${x(edges.at(-1))} ${base}Z`;
    };
    const parts = [];
    if (at.band) {
      const [from, to] = at.band.map((d) => x(Math.min(Math.max(d, low), high)));
      parts.push(s("rect", { x: from, y: TOP - 8, width: Math.max(to - from, 1), height: base - TOP + 8, class: "band" }));
    }
    for (const [kind, each] of shares) parts.push(s("path", { d: area(each), class: `area ${kind}` }));
    parts.push(s("line", { x1: SIDE, x2: width - SIDE, y1: base, y2: base, class: "axis" }));
    for (const tick of ticks(low, high, width)) {
      parts.push(s("line", { x1: x(tick), x2: x(tick), y1: base, y2: base + 4, class: "axis" }));
      parts.push(s("text", { x: x(tick), y: base + 18, "text-anchor": "middle", class: "tick" }, String(tick)));
    }
    if (distance !== null) parts.push(...flag(x(distance), TOP - 42, base, width, `these two ${numbers.distance(distance)}`, "own"));
    const beside = distance === null ? null : x(distance);
    parts.push(...flag(x(at.threshold), TOP - 22, base, width, `threshold ${numbers.distance(at.threshold)}`, "limit", beside));
    this.node.replaceChildren(
      h("figcaption", { class: "legend" }, this.key("genuine", this.words.same), this.key("impostor", this.words.different),
        at.band ? h("span", {}, h("i", { class: "swatch band" }), "95 % interval of the threshold") : null),
      s("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": this.inWords(at, distance) }, parts),
      h("p", { class: "quiet axisname" }, "distance: left is more alike · height: share of the pairs of its kind, so that each kind has a scale of its own"),
    );
  }

  key(kind, words) {
    const pairs = this.histogram[kind].reduce((a, b) => a + b, 0);
    return h("span", {}, h("i", { class: `swatch ${kind}` }), `${words} (${numbers.whole(pairs)} pairs)`);
  }

  inWords(at, distance) {
    const own = distance === null ? "" : ` The distance of the two photographs is ${numbers.distance(distance)}.`;
    const counts = at.counts
      ? ` At or below the threshold of ${numbers.distance(at.threshold)} lie ${numbers.whole(at.counts.tp)} pairs of the ${this.words.same} and ${numbers.whole(at.counts.fp)} of ${this.words.different}.`
      : "";
    return `The calibration pairs by distance.${counts}${own}`;
  }
}

// A line with a label that stays inside, and off another line that would cross it.
function flag(x, top, base, width, text, kind, beside = null) {
  const half = 3.6 * text.length;
  const [left, right] = [half + 2, width - half - 2];
  let at = Math.min(Math.max(x, left), right);
  if (beside !== null && Math.abs(at - beside) < half + 6) {
    const [before, after] = [beside - half - 6, beside + half + 6];
    const wanted = x < beside ? [before, after] : [after, before];
    at = wanted.find((each) => each >= left && each <= right) ?? at;
  }
  return [
    s("line", { x1: x, x2: x, y1: top + 5, y2: base, class: `line ${kind}` }),
    kind === "own" ? s("circle", { cx: x, cy: base, r: 5, class: "dot" }) : null,
    s("text", { x: at, y: top, "text-anchor": "middle", class: `flag ${kind}` }, text),
  ].filter(Boolean);
}

function ticks(low, high, width) {
  const wanted = Math.max(2, Math.floor(width / 75));
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const found = [];
  for (let n = Math.ceil(low / step); n * step <= high; n += 1) found.push(Number((n * step).toPrecision(6)));
  return found;
}
