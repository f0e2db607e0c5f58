"use strict";
// Shows what a mark of a chart stands for while it is pointed at. Without this script the charts
// and the tables beside them are all there.
(() => {
  const hint = document.createElement("div");
  hint.className = "hint";
  hint.hidden = true;
  hint.setAttribute("aria-hidden", "true");
  document.body.append(hint);
  document.addEventListener("pointermove", (event) => {
    const mark = event.target.closest?.("svg.chart path[aria-label]");
    hint.hidden = !mark;
    if (!mark) return;
    hint.textContent = mark.getAttribute("aria-label");
    const room = document.documentElement.clientWidth - hint.offsetWidth - 8;
    hint.style.left = `${Math.max(8, Math.min(event.clientX + 12, room))}px`;
    hint.style.top = `${Math.max(8, event.clientY - hint.offsetHeight - 12)}px`;
  });
})();
