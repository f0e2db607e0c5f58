// The contents: the part that is read is marked, phones open and close them by a button.
(() => {
  const contents = document.querySelector(".contents");
  const menu = document.getElementById("menu");
  const button = document.querySelector(".menu-button");
  const open = (wanted) => {
    menu.classList.toggle("open", wanted);
    button.setAttribute("aria-expanded", String(wanted));
  };
  button.hidden = false;
  button.addEventListener("click", () => open(!menu.classList.contains("open")));
  contents.addEventListener("click", (event) => event.target.closest("a") && open(false));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.classList.contains("open") || event.defaultPrevented) return;
    open(false);
    button.focus();
  });

  const links = [...contents.querySelectorAll("a")];
  const places = links.map((link) => document.getElementById(link.hash.slice(1)));
  const up = document.querySelector(".top");
  let current = null;
  const mark = () => {
    const line = innerHeight / 4;
    let [reached, best] = [0, -Infinity];
    places.forEach((place, i) => {
      const top = place.offsetParent ? place.getBoundingClientRect().top : Infinity;
      // Of cards side by side, the one that was asked for.
      const wins = top > best || (top === best && place.matches(":target"));
      if (top <= line && wins) [reached, best] = [i, top];
    });
    up.hidden = scrollY < innerHeight;
    if (links[reached] === current) return;
    current?.removeAttribute("aria-current");
    current = links[reached];
    current.setAttribute("aria-current", "location");
    const [row, box] = [current.getBoundingClientRect(), contents.getBoundingClientRect()];
    if (row.top < box.top || row.bottom > box.bottom) contents.scrollTop += row.top - box.top - 80;
  };
  let waiting = false;
  const soon = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      mark();
    });
  };
  addEventListener("scroll", soon, { passive: true });
  addEventListener("resize", soon);
  mark();

  // A region is a stop of the Tab key only while there is something to scroll in it.
  const regions = [...document.querySelectorAll(".scroll, pre[tabindex]")];
  const settle = () =>
    regions.forEach((region) => {
      region.tabIndex = region.scrollWidth > region.clientWidth + 1 ? 0 : -1;
    });
  new ResizeObserver(settle).observe(document.querySelector("main"));
  document.addEventListener("toggle", settle, true);
})();
