(() => {
  "use strict";
  const PAGE = 10;
  // Digits are compared as numbers of any length.
  const order = new Intl.Collator("en", { numeric: true }).compare;
  const figure = (value) => value.toLocaleString("en");

  const element = (tag, content = [], properties = {}) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...content);
    return node;
  };

  const start = (root) => {
    const { columns, rows } = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const texts = rows.map((row) =>
      row.map(({ text, whole, minor }) => `${whole ?? text} ${minor ?? ""}`).join(" ").toLowerCase());
    const body = root.querySelector("tbody");
    const headings = [...root.querySelectorAll("thead th")];
    const status = element("p");
    status.setAttribute("role", "status");
    let matching = rows.map((_, at) => at);
    let sorted = { column: -1, sign: 1 };
    let page = 0;

    const cell = ({ text, whole, minor }) => {
      const node = element("td", [text]);
      if (whole) node.title = whole;
      if (minor) node.append(element("small", [minor]));
      return node;
    };

    const show = () => {
      const last = Math.max(0, Math.ceil(matching.length / PAGE) - 1);
      page = Math.min(Math.max(page, 0), last);
      const shown = matching.slice(page * PAGE, (page + 1) * PAGE);
      body.replaceChildren(...shown.map((at) => element("tr", rows[at].map(cell))));
      const few = matching.length < rows.length ? ` that match, of ${figure(rows.length)}` : "";
      status.textContent = shown.length === 0
        ? `No finding matches, of ${figure(rows.length)}`
        : `Findings ${figure(page * PAGE + 1)} to ${figure(page * PAGE + shown.length)} of ${figure(matching.length)}${few}`;
      back.disabled = page === 0;
      next.disabled = page === last;
    };

    const go = (step) => () => {
      page += step;
      show();
    };
    const back = element("button", ["Previous"], { type: "button", onclick: go(-1) });
    const next = element("button", ["Next"], { type: "button", onclick: go(1) });

    const chosen = [];
    const filter = () => {
      const text = search.value.trim().toLowerCase();
      matching = rows.map((_, at) => at).filter((at) =>
        texts[at].includes(text) &&
        chosen.every(({ column, select }) => !select.value || rows[at][column].text === select.value));
      if (sorted.column >= 0) {
        const key = (at) => rows[at][sorted.column].text;
        matching.sort((a, b) => sorted.sign * order(key(a), key(b)) || a - b);
      }
      page = 0;
      show();
    };

    const search = element("input", [], { type: "search", oninput: filter });
    const controls = element("div", [element("label", ["Search ", search])], { className: "controls" });
    for (const column of [0, 1, 2]) {
      const values = [...new Set(rows.map((row) => row[column].text))].sort(order);
      if (values.length < 2) continue;
      const options = [element("option", ["all"], { value: "" }), ...values.map((value) => element("option", [value], { value }))];
      const select = element("select", options, { onchange: filter });
      chosen.push({ column, select });
      controls.append(element("label", [`${columns[column]} `, select]));
    }

    headings.forEach((heading, column) => {
      const sort = () => {
        sorted = { column, sign: sorted.column === column ? -sorted.sign : 1 };
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", sorted.sign === 1 ? "ascending" : "descending");
        filter();
      };
      heading.replaceChildren(element("button", [columns[column]], { type: "button", onclick: sort }));
    });

    root.querySelector(".plain")?.remove();
    const region = root.querySelector(".rows");
    region.before(controls);
    const pager = rows.length > PAGE ? [back, next] : [];
    region.after(element("div", [status, ...pager], { className: "controls" }));
    show();
  };

  // Every table that does not run yet, as the script of one may run before the next is there, and twice.
  for (const root of document.querySelectorAll(".edgesentry-findings:not([data-runs])")) {
    root.dataset.runs = "";
    start(root);
  }
})();
