// Keeps the page up to date: whenever the server tells of news, the page's inner part is asked for.
"use strict";

(() => {
  const PACE = 400; // ms between two refreshes
  const ALIVE = { true: "live", false: "waiting for the server" };
  let source = null;
  let due = null;
  let last = 0;

  const live = () => document.getElementById("live");

  function say(well) {
    const alive = document.getElementById("alive");
    if (alive) {
      alive.textContent = ALIVE[well];
      alive.classList.toggle("lost", !well);
    }
  }

  function busy() {
    // Whoever writes into a field keeps it as it is.
    const at = document.activeElement;
    return at && at.matches("input:not([type=checkbox]), select, textarea") && live().contains(at);
  }

  function refresh() {
    if (due !== null) return;
    due = setTimeout(() => {
      due = null;
      if (busy()) return;
      last = Date.now();
      window.htmx.trigger(live(), "refresh");
    }, Math.max(0, last + PACE - Date.now()));
  }

  function listen() {
    const url = live() && live().dataset.events;
    if (!url) return;
    source = new EventSource(url);
    source.onopen = () => { say(true); };
    source.onerror = () => { say(false); };
    for (const name of ["job", "log", "trouble"]) source.addEventListener(name, refresh);
    for (const name of ["end", "gone"]) {
      source.addEventListener(name, () => { source.close(); refresh(); });
    }
  }

  // What was ticked stays ticked, and what had the focus has it again.
  let ticked = [];
  let focused = null;
  document.addEventListener("htmx:beforeSwap", () => {
    ticked = [...document.querySelectorAll("input[form=chosen]:checked")].map((each) => each.id);
    focused = document.activeElement && document.activeElement.id;
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const id of ticked) {
      const box = document.getElementById(id);
      if (box) box.checked = true;
    }
    const again = focused && document.getElementById(focused);
    if (again) again.focus({ preventScroll: true });
  });

  document.addEventListener("DOMContentLoaded", listen);
  window.addEventListener("pagehide", () => source && source.close());
  window.addEventListener("pageshow", (shown) => { if (shown.persisted) listen(); });
})();
