// How numbers are written.
export const whole = (n) => n.toLocaleString("en-GB");

export const distance = (d) => d.toFixed(4);

// A share of 0 to 1, with as many digits as say something.
export function rate(value) {
  if (value === null || value === undefined) return "not known";
  if (value === 0 || value === 1) return String(value);
  if (value >= 0.1) return value > 0.999 ? String(Number(value.toPrecision(5))) : value.toFixed(3);
  return value >= 0.001 ? Number(value.toPrecision(2)).toString() : value.toExponential(1);
}

export function percent(value) {
  if (value > 0.9995) return value === 1 ? "100 %" : "over 99.9 %";
  if (value < 0.0005) return value === 0 ? "0 %" : "below 0.1 %";
  return `${Number((100 * value).toPrecision(value > 0.9 ? 3 : 2))} %`;
}

// A share of pairs, in words where there are some.
export const share = (value) => (value === 0.5 ? "half" : percent(value));

export function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
}

// A rate as it is, and what that means where it is small.
export const rateInWords = (value) => (value < 0.1 ? `${value} (${oneIn(value)})` : String(value));

export const oneIn = (value) => (value < 0.1 ? `1 in ${whole(Math.round(1 / value))}` : rate(value));

export const interval = (ends) =>
  ends && ends[0] !== null ? `${rate(ends[0])} to ${rate(ends[1])}` : "";

export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
