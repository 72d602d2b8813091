"use strict";
// Looks again every so often, and sends a filter off when it changes. Without it every page works.
(() => {
  const EVERY_MS = 15000;
  let paused = false;

  const button = () => document.getElementById("live");
  const label = () => {
    const live = button();
    live.hidden = false;
    live.textContent = paused ? "Resume" : "Pause";
    live.setAttribute("aria-label", paused ? "Resume looking again" : "Pause looking again");
  };

  // Nobody loses what they write or the place where the keyboard is.
  const busy = () => {
    const at = document.activeElement;
    const inside = at && at !== document.body && document.getElementById("main").contains(at);
    return paused || document.hidden || (inside && at.id !== "main" && at.id !== "live") || !document.getSelection().isCollapsed;
  };

  const look = async () => {
    if (busy()) return;
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("main");
      if (!fresh || busy()) return;
      const focused = document.activeElement === button();
      document.getElementById("main").replaceChildren(...document.adoptNode(fresh).childNodes);
      label();
      if (focused) button().focus();
    } catch {
      // The next look may succeed.
    }
  };

  document.addEventListener("click", (event) => {
    if (event.target.id !== "live") return;
    paused = !paused;
    label();
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches(".filter select")) event.target.form.requestSubmit();
  });
  label();
  setInterval(look, EVERY_MS);
})();
