(() => {
  "use strict";
  const PAGE = 50;
  const PRINTED = 1000;
  const groups = document.getElementById("groups");
  const form = document.getElementById("filter");
  const pager = document.getElementById("pager");
  const status = document.getElementById("status");
  const rows = [...groups.querySelectorAll("tbody tr")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const table = groups.querySelector("table");
  const body = table.tBodies[0];
  const place = new Map(rows.map((row, at) => [row.id, at]));
  const figure = (value) => value.toLocaleString("en");
  let matching = rows;
  let page = 0;

  const pages = () => Math.max(1, Math.ceil(matching.length / PAGE));

  const show = (size = PAGE) => {
    page = Math.min(Math.max(page, 0), pages() - 1);
    const first = size === PAGE ? page * PAGE : 0;
    const shown = matching.slice(first, first + size);
    body.replaceChildren(...shown);
    table.hidden = shown.length === 0;
    const of = matching.length === rows.length ? "" : ` that match, of ${figure(rows.length)}`;
    status.textContent = shown.length === 0
      ? `No finding matches, of ${figure(rows.length)}`
      : `Findings ${figure(first + 1)} to ${figure(first + shown.length)} of ${figure(matching.length)}${of}`;
    for (const button of pager.querySelectorAll("button")) {
      const back = button.dataset.go === "first" || button.dataset.go === "back";
      button.disabled = back ? page === 0 : page === pages() - 1;
    }
  };

  const filter = () => {
    const text = form.elements.text.value.trim().toLowerCase();
    const code = form.elements.code.value;
    const device = form.elements.device ? form.elements.device.value : "";
    matching = rows.filter((row, at) =>
      (!code || row.dataset.code === code) &&
      (!device || row.dataset.device === device) &&
      (!text || texts[at].includes(text)));
    page = 0;
    show();
  };

  // A link to a finding opens the page that has it.
  const seek = () => {
    const at = place.get(location.hash.slice(1));
    if (at === undefined) return;
    if (!matching.includes(rows[at])) {
      form.reset();
      matching = rows;
    }
    page = Math.floor(matching.indexOf(rows[at]) / PAGE);
    show();
    for (const row of body.querySelectorAll(".sought")) row.classList.remove("sought");
    rows[at].classList.add("sought");
    rows[at].scrollIntoView({ block: "center" });
  };

  groups.replaceChildren(table);
  form.hidden = pager.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  pager.addEventListener("click", (event) => {
    const go = event.target.dataset.go;
    if (!go) return;
    page = { first: 0, back: page - 1, on: page + 1, last: pages() - 1 }[go];
    show();
  });

  // Links from the overview and the timelines choose what they lead to.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href='#findings']");
    if (!link || (!link.dataset.code && !link.dataset.device)) return;
    form.reset();
    form.elements.code.value = link.dataset.code ?? "";
    const device = link.dataset.device ?? "";
    if (form.elements.device) {
      form.elements.device.value = device;
      if (device && form.elements.device.value !== device) {
        form.elements.device.value = "";
        form.elements.text.value = device;
      }
    }
    filter();
    document.getElementById("findings-title").focus({ preventScroll: true });
  });

  addEventListener("hashchange", seek);
  addEventListener("beforeprint", () => { if (matching.length <= PRINTED) show(PRINTED); });
  addEventListener("afterprint", () => show());
  show();
  seek();
})();
