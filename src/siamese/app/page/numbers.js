// How numbers are written.
export const whole = (n) => n.toLocaleString("en-GB");

export const distance = (d) => d.toFixed(4);

// Digits after the point: three, or as many as show two that are not 0.
const places = (value) => (value >= 0.1 || value <= 0 ? 3 : 1 - Math.floor(Math.log10(value)));

// A share of 0 to 1, never as 1e-5.
export function rate(value, digits = null) {
  if (value === null || value === undefined) return "not known";
  if (value === 0 || value === 1) return String(value);
  const text = value.toFixed(digits ?? places(value));
  return Number(text) === 1 ? "over 0.999" : text;
}

export function percent(value) {
  if (value > 0.9995) return value === 1 ? "100 %" : "over 99.9 %";
  if (value < 0.0005) return value === 0 ? "0 %" : "below 0.1 %";
  return `${Number((100 * value).toPrecision(value > 0.9 ? 3 : 2))} %`;
}

// A share of pairs, in words where there are some.
export const share = (value) => (value === 0.5 ? "half" : percent(value));

// Numbers such as 7.9e-4 written out.
export const plain = (text) =>
  text.replace(/\b\d+(?:\.\d+)?e-\d+\b/g, (found) => {
    const [digits, power] = found.split("e-");
    return Number(found).toFixed(Number(power) + (digits.split(".")[1] ?? "").length);
  });

// A name or a path at the beginning stays as it is.
export function sentence(text) {
  const first = /^[a-z]+(?=[ ,;.]|$)/.test(text) ? text[0].toUpperCase() : text[0];
  return `${first}${plain(text.slice(1))}${text.endsWith(".") ? "" : "."}`;
}

// A rate as it is, and what that means where it is small.
export const rateInWords = (value) => (value < 0.1 ? `${value} (${oneIn(value)})` : String(value));

export const oneIn = (value) => (value < 0.1 ? `1 in ${whole(Math.round(1 / value))}` : rate(value));

// An interval's ends, with as many digits as the figure that lies in it.
export function interval(ends, value) {
  if (!ends || ends[0] === null) return "";
  const digits = places(value > 0 && value < 1 ? value : value === 1 ? ends[0] : ends[1]);
  const [from, to] = ends.map((end) => rate(end, digits));
  return from === to ? from : `${from} to ${to}`;
}

export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
