// Making elements; text is always text, never HTML.
const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "srcObject") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const h = (tag, attributes, ...children) =>
  filled(document.createElement(tag), attributes, children);

export const s = (tag, attributes, ...children) =>
  filled(document.createElementNS(SVG, tag), attributes, children);

export const icon = (path) =>
  s("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, s("path", { d: path }));

export const ICONS = {
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.5h.01",
  camera: "M4 8h4l1.5-2.5h5L16 8h4v11H4zM12 16.5a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4z",
  warning: "M12 4 2.8 20h18.4zM12 10v5M12 17.5v.01",
  same: "M5 12.5l4.5 4.5L19 7.5",
  different: "M5 9h14M5 15h14M16 4.5 8 19.5",
  remove: "M6 6l12 12M18 6 6 18",
};

let announced = "";

// Tells a screen reader, once for each new text.
export function say(text) {
  if (text === announced) return;
  announced = text;
  document.getElementById("said").textContent = text;
}

let counter = 0;
export const newId = (what) => `${what}-${(counter += 1)}`;
