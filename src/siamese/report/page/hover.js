"use strict";
// Shows the nearest value of a chart under the pointer; without it, the page lacks only that.
const tip = document.getElementById("tip");
const values = {};
for (const element of document.querySelectorAll("script.values")) {
  Object.assign(values, JSON.parse(element.textContent));
}
const NEAR = 40; // units of a picture

function nearest(chart, x, y) {
  let found = null, least = NEAR;
  for (const series of chart.series) {
    for (const point of series.points) {
      const far = Math.hypot(point[0] - x, point[1] - y);
      if (far < least) {
        least = far;
        found = { series: series.name, x: point[0], y: point[1], words: point[2] };
      }
    }
  }
  return found;
}

for (const figure of document.querySelectorAll("figure[data-chart]")) {
  const chart = values[figure.dataset.chart];
  const picture = figure.querySelector(".picture");
  const svg = picture.querySelector("svg");
  if (!chart || !svg) continue;
  const circle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  circle.setAttribute("class", "here");
  circle.setAttribute("r", "5");
  circle.setAttribute("visibility", "hidden");
  svg.append(circle);
  const leave = () => {
    tip.hidden = true;
    circle.setAttribute("visibility", "hidden");
  };
  picture.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const scale = chart.width / box.width;
    const found = nearest(chart, (event.clientX - box.left) * scale, (event.clientY - box.top) * scale);
    if (!found) return leave();
    circle.setAttribute("cx", found.x);
    circle.setAttribute("cy", found.y);
    circle.setAttribute("visibility", "visible");
    tip.textContent = chart.series.length > 1 ? `${found.series}: ${found.words}` : found.words;
    tip.hidden = false;
    const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
    const above = event.clientY - tip.offsetHeight - 12;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${above > 4 ? above : event.clientY + 18}px`;
  });
  picture.addEventListener("pointerleave", leave);
  addEventListener("scroll", leave, { passive: true });
}
