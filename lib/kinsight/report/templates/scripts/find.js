// Search and filter: what does not match is hidden here and in the contents; why something
// matches stands in the contents and is marked in the text.
(() => {
  const form = document.querySelector(".find");
  const [input, share, verdict] = ["q", "share", "verdict"].map((name) => form.elements[name]);
  const said = form.querySelector("output");
  const clear = form.querySelector("[type=reset]");
  const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  const articles = [...document.querySelectorAll(".findable")].map((article) => ({
    article,
    kind: article.dataset.kind,
    share: Number(article.dataset.share || 1),
    verdict: article.dataset.verdict || "",
    words: article.dataset.words.split("\n").map((text) => ({ text, plain: plain(text) })),
    link: document.querySelector(`.contents a[href="#${CSS.escape(article.id)}"]`),
  }));
  const closed = new Set();
  const LONG = 60; // letters of a reason

  const excerpt = (hit, word) => {
    if (hit.text.length <= LONG) return hit.text;
    const from = Math.max(0, hit.plain.indexOf(word) - LONG / 3);
    return `…${hit.text.slice(from, from + LONG)}…`;
  };
  const reason = (found, wanted) => {
    const hits = wanted.map((word) => found.words.find((known) => known.plain.includes(word)));
    if (hits.includes(undefined)) return null;
    const told = hits.map((hit, i) => hit !== found.words[0] && excerpt(hit, wanted[i]));
    return [...new Set(told.filter(Boolean))];
  };
  const fits = (found) =>
    found.kind === "segment"
      ? found.share >= Number(share.value)
      : verdict.value === "" || found.verdict === verdict.value;

  const highlight = (wanted) => {
    closed.forEach((details) => (details.open = false));
    closed.clear();
    if (!("highlights" in CSS)) return;
    const ranges = [];
    for (const { article } of wanted.length ? articles : []) {
      if (article.hidden) continue;
      const texts = document.createTreeWalker(article, NodeFilter.SHOW_TEXT);
      for (let node = texts.nextNode(); node; node = texts.nextNode()) {
        if (node.parentElement.closest("svg, .numbers")) continue;
        const text = plain(node.data);
        if (text.length !== node.data.length) continue;
        for (const word of wanted) {
          for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + word.length)) {
            const range = new Range();
            range.setStart(node, at);
            range.setEnd(node, at + word.length);
            ranges.push(range);
            const details = node.parentElement.closest("details:not([open])");
            if (details) {
              details.open = true;
              closed.add(details);
            }
          }
        }
      }
    }
    CSS.highlights.set("found", new Highlight(...ranges));
  };

  const filter = () => {
    const wanted = plain(input.value).split(/\s+/).filter(Boolean);
    const counts = { segment: [0, 0], audience: [0, 0] };
    for (const found of articles) {
      const why = fits(found) ? reason(found, wanted) : null;
      found.article.hidden = why === null;
      counts[found.kind][1] += 1;
      counts[found.kind][0] += why !== null;
      const entry = found.link?.parentElement;
      if (!entry) continue;
      entry.hidden = why === null;
      entry.querySelector(".why")?.remove();
      if (!why?.length) continue;
      const note = document.createElement("span");
      note.className = "why";
      note.textContent = why.join(", ");
      found.link.firstElementChild.append(note);
    }
    highlight(wanted);
    const active = wanted.length > 0 || share.value !== "0" || verdict.value !== "";
    clear.hidden = !active;
    const parts = Object.entries(counts)
      .filter(([, [, all]]) => all)
      .map(([kind, [some, all]]) => `${some} of ${all} ${kind}s`);
    said.value = active ? parts.join(", ") : "";
    document.querySelectorAll(".none-left").forEach((note) => {
      note.hidden = counts[note.dataset.kind][0] > 0;
    });
    dispatchEvent(new Event("scroll"));
  };

  form.hidden = articles.length === 0;
  form.addEventListener("input", filter);
  form.addEventListener("reset", () => {
    setTimeout(filter);
    input.focus();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    articles.find((found) => !found.article.hidden)?.link?.click();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || clear.hidden) return;
    event.preventDefault();
    form.reset();
  });
  // A link to something that the filter hides shows everything again.
  addEventListener("hashchange", () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target?.closest("[hidden]")) return;
    form.reset();
    setTimeout(() => target.scrollIntoView());
  });
})();
