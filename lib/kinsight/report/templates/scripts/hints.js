// Shows what a mark of a chart stands for while it is pointed at or reached by the arrow keys.
// Without this script the charts and the tables beside them are all there.
(() => {
  const hint = document.createElement("div");
  hint.className = "hint";
  hint.hidden = true;
  hint.setAttribute("role", "status");
  document.body.append(hint);
  let pointed = null;
  const point = (mark, x, y) => {
    pointed?.classList.remove("pointed");
    pointed = mark;
    hint.hidden = !mark;
    if (!mark) return;
    hint.textContent = mark.getAttribute("aria-label");
    const room = document.documentElement.clientWidth - hint.offsetWidth - 8;
    hint.style.left = `${Math.max(8, Math.min(x + 12, room))}px`;
    hint.style.top = `${Math.max(8, y - hint.offsetHeight - 12)}px`;
  };
  const follow = (event) => {
    const mark = event.target.closest?.("svg.chart path[aria-label]");
    if (mark || !pointed?.classList.contains("pointed")) point(mark, event.clientX, event.clientY);
  };
  document.addEventListener("pointermove", follow);
  document.addEventListener("pointerdown", follow);

  // Of marks that say the same, such as the points of a segment, the keys stop at the first.
  const stops = (chart) => {
    const known = new Map();
    for (const mark of chart.querySelectorAll("path[aria-label]"))
      known.set(mark.getAttribute("aria-label"), mark);
    return [...known.values()];
  };
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  for (const chart of document.querySelectorAll("svg.chart")) {
    if (!chart.querySelector("path[aria-label]")) continue;
    chart.setAttribute("tabindex", "0");
    chart.setAttribute("aria-roledescription", "chart");
    chart.setAttribute("aria-description", "Arrow keys tell its marks.");
    let at = -1;
    chart.addEventListener("keydown", (event) => {
      const marks = stops(chart);
      if (event.key in steps) at = Math.min(Math.max(at + steps[event.key], 0), marks.length - 1);
      else if (event.key === "Home") at = 0;
      else if (event.key === "End") at = marks.length - 1;
      else return;
      event.preventDefault();
      const box = marks[at].getBoundingClientRect();
      point(marks[at], box.x + box.width / 2, box.y);
      marks[at].classList.add("pointed");
    });
    chart.addEventListener("blur", () => {
      at = -1;
      point(null);
    });
  }
  document.addEventListener("keydown", (event) => event.key === "Escape" && point(null));
})();
