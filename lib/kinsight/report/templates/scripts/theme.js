// A button that turns light into dark and back. It is forgotten with the page: the next one
// follows the system again.
(() => {
  const root = document.documentElement;
  root.classList.add("with-script");
  const button = document.querySelector(".theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const show = () => button.setAttribute("aria-pressed", String(isDark()));
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    show();
  });
  dark.addEventListener("change", show);
  button.hidden = !CSS.supports("color", "light-dark(#000, #fff)");
  show();
})();
