"use strict";
(() => {
  const nav = document.querySelector(".filters");
  const rows = [...document.querySelectorAll("tr[data-outcome]")];
  const chosen = new Set();
  const apply = () => {
    const wanted = nav.querySelector("input").value.trim().toLowerCase().split(/\s+/);
    for (const row of rows) {
      const shown = !chosen.size || chosen.has(row.dataset.outcome);
      row.hidden = !(shown && wanted.every((word) => row.dataset.text.includes(word)));
    }
    for (const head of document.querySelectorAll("tr.section")) {
      let next = head.nextElementSibling, any = false;
      while (next && !next.classList.contains("section")) { any ||= !next.hidden; next = next.nextElementSibling; }
      head.hidden = !any;
    }
  };
  nav.hidden = false;
  for (const button of nav.querySelectorAll("[data-outcome]")) {
    button.addEventListener("click", () => {
      const on = !chosen.delete(button.dataset.outcome);
      if (on) chosen.add(button.dataset.outcome);
      button.setAttribute("aria-pressed", String(on));
      apply();
    });
  }
  nav.querySelector("input").addEventListener("input", apply);
})();
