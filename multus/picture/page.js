"use strict";
(() => {
  // Asks for the parts of the page with its own query, and replaces those that have changed.
  const form = document.getElementById("filter");
  const live = document.querySelector("header .live");
  const chosen = new URLSearchParams(location.search);
  const shown = {};
  let etag = "", running = null, timer = 0;

  const part = (name) => document.getElementById(name);
  const query = () => {
    const found = new URLSearchParams();
    for (const [key, value] of new FormData(form)) if (value) found.set(key, value);
    if (chosen.get("chosen")) found.set("chosen", chosen.get("chosen"));
    return found;
  };

  function remember(replaced) {
    if (replaced.tagName === "SELECT") {
      const value = replaced.value;
      return () => { replaced.value = value; };
    }
    const active = document.activeElement;
    const key = active && replaced.contains(active) && (active.dataset.pod || active.dataset.key);
    const open = [...replaced.querySelectorAll("details[open]")].map((each) => each.dataset.key);
    return () => {
      for (const each of replaced.querySelectorAll("details")) {
        each.open = open.includes(each.dataset.key);
      }
      if (!key) return;
      const again = [...replaced.querySelectorAll("a[data-pod], [data-key]")].find(
        (each) => (each.dataset.pod || each.dataset.key) === key);
      if (again) again.focus({ preventScroll: true });
    };
  }

  function show(parts) {
    for (const [name, html] of Object.entries(parts)) {
      const there = part(name);
      if (!there || shown[name] === html) continue;
      const restore = remember(there);
      there.innerHTML = shown[name] = html;
      restore();
    }
  }

  async function refresh(next) {
    clearTimeout(timer);
    if (running) running.abort();
    const mine = running = new AbortController();
    const asked = query();
    asked.set("width", Math.floor(part("picture").clientWidth - 8));
    try {
      const answer = await fetch("parts?" + asked, {
        headers: etag && !next ? { "If-None-Match": etag } : {}, signal: mine.signal, cache: "no-store",
      });
      if (answer.status === 200) {
        etag = answer.headers.get("ETag") || "";
        show((await answer.json()).parts);
      } else if (answer.status !== 304) throw new Error(String(answer.status));
      live.textContent = "live";
      live.classList.remove("lost");
    } catch (error) {
      if (error.name === "AbortError") return;
      live.textContent = "not up to date: no answer";
      live.classList.add("lost");
    }
    if (!document.hidden) timer = setTimeout(refresh, 2000);
  }

  function choose(container) {
    if (container) chosen.set("chosen", container); else chosen.delete("chosen");
    const now = query().toString();
    history.replaceState(null, "", now ? "?" + now : location.pathname);
    return refresh(true);
  }

  document.addEventListener("click", async (event) => {
    const link = event.target.closest("a[data-pod], a[data-close], a.all");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (link.classList.contains("all")) {
      for (const each of form.elements) if (each.name) each.value = "";
    }
    const container = link.dataset.pod || "";
    await choose(container);
    if (container) part("details").scrollIntoView({ block: "nearest" });
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") choose("");
    if (event.key === "/" && !/INPUT|SELECT/.test(event.target.tagName)) {
      event.preventDefault();
      form.elements.pod.focus();
    }
  });
  let typing = 0;
  form.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => choose(chosen.get("chosen")), 150);
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); choose(chosen.get("chosen")); });

  // The lines of the pod, or of what pods are attached to, under the pointer or the focus.
  function light(event) {
    const picture = part("picture").querySelector("svg");
    const over = event.target.closest && event.target.closest("[data-pod], [data-parent]");
    if (!picture) return;
    const on = over && picture.contains(over) ? over : null;
    picture.classList.toggle("lit", Boolean(on));
    for (const line of picture.querySelectorAll(".line")) {
      line.classList.toggle("lit", Boolean(on) && (on.dataset.pod
        ? line.dataset.pod === on.dataset.pod : line.dataset.parent === on.dataset.parent));
    }
  }
  document.addEventListener("pointerover", light);
  document.addEventListener("focusin", light);

  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (width !== window.innerWidth) { width = window.innerWidth; refresh(true); }
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  document.documentElement.classList.add("live-page");
  refresh(true);
})();
