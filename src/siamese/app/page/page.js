// Begins: asks what is loaded, and fills the three tabs.
import { Figures } from "./figures.js";
import { Search } from "./search.js";
import { get, Trouble } from "./server.js";
import { Verify } from "./verify.js";

const tabs = [...document.querySelectorAll("[role=tab]")];
const panel = (tab) => document.getElementById(tab.getAttribute("aria-controls"));

function open(chosen, focus = false) {
  for (const tab of tabs) {
    const own = tab === chosen;
    tab.setAttribute("aria-selected", String(own));
    tab.tabIndex = own ? 0 : -1;
    panel(tab).hidden = !own;
  }
  if (focus) chosen.focus();
}

function choose(tab, focus = false) {
  open(tab, focus);
  history.replaceState(null, "", `#${panel(tab).id}`);
}

tabs.forEach((tab, place) => {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", (event) => {
    const to = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: -1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(tabs.at(to % tabs.length), true);
  });
});
open(tabs.find((tab) => `#${panel(tab).id}` === location.hash) ?? tabs[0]);
// A photograph that misses its place is not opened instead of the page.
for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());

try {
  const facts = await get("/api/facts");
  document.getElementById("bundle").textContent = facts.bundle;
  new Verify(document.getElementById("verify"), facts);
  new Search(document.getElementById("search"), facts);
  new Figures(document.getElementById("figures"), facts);
} catch (error) {
  const fault = document.getElementById("fault");
  fault.textContent = error instanceof Trouble ? error.message : `The page failed: ${error.message}`;
  fault.hidden = false;
  if (!(error instanceof Trouble)) throw error;
}
