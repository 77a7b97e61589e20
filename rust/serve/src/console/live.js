(() => {
  "use strict";
  const status = document.getElementById("live");
  const decisions = document.getElementById("decisions");
  const source = new EventSource("/console/events");
  let state = "";
  let entries = "";

  const say = (next, text) => {
    // A screen reader hears a change of the state, and not each new figure.
    status.setAttribute("aria-live", next === state ? "off" : "polite");
    state = next;
    status.textContent = text;
  };

  const cell = (text, path) => {
    const node = document.createElement("td");
    if (path) {
      const link = document.createElement("a");
      link.href = path;
      link.textContent = text;
      node.append(link);
    } else {
      node.textContent = text;
    }
    return node;
  };

  source.addEventListener("figures", (event) => {
    const figures = JSON.parse(event.data);
    for (const node of document.querySelectorAll("[data-live]")) {
      const text = figures.texts[node.dataset.live];
      if (typeof text === "string" && node.textContent !== text) node.textContent = text;
    }
    // The link that a reader has reached stays where it is.
    const next = JSON.stringify(figures.decisions);
    if (decisions && figures.decisions && next !== entries && !decisions.contains(document.activeElement)) {
      entries = next;
      decisions.replaceChildren(...figures.decisions.map((decision) => {
        const row = document.createElement("tr");
        const texts = [
          cell(decision.at), cell(decision.device, decision.device_path),
          cell(decision.sequence, decision.record_path), cell(decision.outcome),
        ];
        texts[2].className = "figure";
        row.append(...texts);
        return row;
      }));
    }
    say("live", `Live, as of ${figures.at}.`);
  });
  source.addEventListener("ended", () => {
    source.close();
    say("ended", "The session has ended: the figures are those of the last moment. Sign in again.");
  });
  source.onerror = () => {
    if (state !== "ended") say("lost", "The service does not respond: the figures are those of the last moment.");
  };
})();
