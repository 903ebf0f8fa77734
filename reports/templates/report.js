"use strict";
(() => {
  const results = [...document.querySelectorAll("details.result")];
  const nav = document.querySelector(".filters");
  const chosen = new Set();
  const select = nav && nav.querySelector("select");
  const apply = () => {
    const wanted = nav.querySelector("input").value.trim().toLowerCase().split(/\s+/);
    for (const one of results) {
      const verdict = !chosen.size || chosen.has(one.dataset.verdict);
      const group = !select || !select.value || one.dataset.group === select.value;
      one.hidden = !(verdict && group && wanted.every((word) => one.dataset.text.includes(word)));
    }
    for (const section of document.querySelectorAll("section.group, section.kind")) {
      section.hidden = !section.querySelector("details.result:not([hidden])");
    }
    document.querySelector(".nothing").hidden = results.some((one) => !one.hidden);
  };
  if (nav) {
    nav.hidden = false;
    for (const button of nav.querySelectorAll("[data-verdict]")) {
      button.addEventListener("click", () => {
        const on = !chosen.delete(button.dataset.verdict);
        if (on) chosen.add(button.dataset.verdict);
        button.setAttribute("aria-pressed", String(on));
        apply();
      });
    }
    nav.querySelector("input").addEventListener("input", apply);
    if (select) select.addEventListener("change", apply);
    const all = nav.querySelector("[data-all]");
    all.addEventListener("click", () => {
      const open = all.textContent === "Open all";
      for (const one of results) one.open = open;
      all.textContent = open ? "Close all" : "Open all";
    });
  }
  for (const button of document.querySelectorAll(".copy")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }
  for (const tile of document.querySelectorAll("[data-go]")) {
    tile.addEventListener("click", () => {
      const one = results.find((each) => each.querySelector(".id").textContent === tile.dataset.go);
      if (!one) return;
      if (one.hidden) {
        chosen.clear();
        for (const button of nav.querySelectorAll("[data-verdict]")) button.setAttribute("aria-pressed", "false");
        nav.querySelector("input").value = "";
        if (select) select.value = "";
        apply();
      }
      one.open = true;
      one.scrollIntoView({ block: "start" });
      one.querySelector("summary").focus({ preventScroll: true });
    });
  }
  const anchored = () => {
    const one = results.find((each) => "#" + each.querySelector(".id").textContent === decodeURIComponent(location.hash));
    if (one) { one.open = true; one.scrollIntoView(); }
  };
  addEventListener("hashchange", anchored);
  anchored();
})();
