"use strict";
// Draws the figures from the JSON beside them, in the colours and for the width of the screen; copies tables.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 640px)");
  const colour = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Plotly wraps a legend that is too wide; its rows need room below the figure.
  function legendRows(data, width) {
    let rows = 0;
    let left = 0;
    for (const trace of data.filter((trace) => trace.showlegend !== false)) {
      const needed = 50 + 6.5 * trace.name.length;
      if (rows === 0 || left < needed) {
        rows += 1;
        left = width - 60;
      }
      left -= needed;
    }
    return rows;
  }

  function themed(layout, data, width) {
    const copy = structuredClone(layout);
    const legendHeight = 24 * legendRows(data, width);
    copy.height += legendHeight;
    copy.margin.b += legendHeight;
    const ink = colour("--ink");
    copy.font = { family: colour("--font"), size: narrow.matches ? 11 : 13, color: ink };
    copy.modebar = { bgcolor: "rgba(0,0,0,0)", color: colour("--line"), activecolor: ink };
    copy.hoverlabel = { ...copy.hoverlabel, bgcolor: colour("--card"), bordercolor: colour("--line"),
      font: { color: ink } };
    for (const [key, axis] of Object.entries(copy)) {
      if (!/^[xy]axis\d*$/.test(key)) continue;
      axis.gridcolor = colour("--grid");
      axis.linecolor = colour("--line");
      axis.tickcolor = colour("--line");
      if (axis.title) Object.assign(axis.title, { font: { ...copy.font }, standoff: 8 });
    }
    if (narrow.matches) {
      copy.margin = { ...copy.margin, l: Math.min(copy.margin.l, 44), r: Math.min(copy.margin.r, 16) };
      copy.dragmode = false;
    }
    return copy;
  }

  const figures = [...document.querySelectorAll("div.figure")].map((box) => ({
    box,
    content: JSON.parse(document.getElementById(box.id + "-data").textContent),
  }));

  function draw() {
    for (const { box, content, showToggles } of figures) {
      Plotly.react(box, structuredClone(content.data), themed(content.layout, content.data, box.clientWidth), {
        responsive: true,
        displaylogo: false,
        plotlyServerURL: "",
        // A list of what is wanted: plotly's own has a button that uploads the figure.
        modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "autoScale2d", "resetScale2d"]],
        displayModeBar: narrow.matches ? false : "hover",
      });
      showToggles?.();
    }
  }

  for (const { box, content } of figures) {
    const bar = document.createElement("div");
    bar.className = "views";
    for (const view of content.layout.meta?.views ?? []) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = view.label;
      button.addEventListener("click", () => Plotly.relayout(box, structuredClone(view.ranges)));
      bar.append(button);
    }
    if (bar.children.length) box.before(bar);
  }

  // What the legend offers the mouse, as buttons for the keyboard; the page shows them while one has the focus.
  for (const figure of figures) {
    const { box, content } = figure;
    const items = content.data.flatMap((trace, place) =>
      trace.showlegend === false || !trace.name ? [] : [{ name: plain(trace.name), places: content.data
        .flatMap((other, at) => at === place || (trace.legendgroup && other.legendgroup === trace.legendgroup) ? [at] : []) }]);
    if (items.length < 2) continue;
    const bar = document.createElement("div");
    bar.className = "views toggles";
    bar.setAttribute("role", "group");
    bar.setAttribute("aria-label", "Show or hide in the figure");
    const isShown = ({ places }) => (box.data[places[0]].visible ?? true) === true;
    for (const item of items) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = item.name;
      button.addEventListener("click", () =>
        Plotly.restyle(box, { visible: isShown(item) ? "legendonly" : true }, item.places));
      bar.append(button);
    }
    figure.showToggles = () =>
      items.forEach((item, place) => bar.children[place].setAttribute("aria-pressed", isShown(item)));
    box.before(bar);
  }

  // As RFC 4180 has it. Names are other people's: a spreadsheet is not to take one for a formula.
  function csvField(value) {
    const text = String(value).trim().replace(/\s+/g, " ").replace(/^(?=[=@]|[+-][^\d.])/, "'");
    return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  // Names are in figures as plotly reads them: a few marks are written as entities.
  function plain(text) {
    return text.replace(/&(lt|gt|#123|amp);/g, (_, mark) => ({ lt: "<", gt: ">", "#123": "{", amp: "&" })[mark]);
  }

  // One line for each point.
  function pointRows({ data, layout }) {
    const title = (trace) => layout["yaxis" + (trace.yaxis ?? "y").slice(1)]?.title?.text ?? "";
    const points = data.flatMap((trace) => [...trace.x.keys()]
      .filter((place) => trace.x[place] !== null && trace.y[place] !== null)
      .map((place) => [plain(trace.name ?? ""), plain(trace.meta ?? title(trace)), trace.x[place], trace.y[place]]));
    return [["name", "what", "x", "y"], ...points];
  }

  function copyButton(after, rows) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy as CSV";
    button.setAttribute("aria-live", "polite");
    button.addEventListener("click", async () => {
      const lines = rows().map((row) => row.map(csvField).join(",") + "\r\n");
      try {
        await navigator.clipboard.writeText(lines.join(""));
        button.textContent = "Copied";
      } catch {
        button.textContent = "The browser does not let this page copy";
      }
      setTimeout(() => (button.textContent = "Copy as CSV"), 2000);
    });
    after.after(button);
  }

  for (const table of document.querySelectorAll("table")) {
    copyButton(table.closest(".scroll") ?? table, () =>
      [...table.rows].map((row) => [...row.cells].map((cell) => cell.innerText)));
  }
  for (const { box, content } of figures) copyButton(box, () => pointRows(content));

  draw();
  for (const { box, showToggles } of figures) if (showToggles) box.on("plotly_restyle", showToggles);
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
  dark.addEventListener("change", draw);
  narrow.addEventListener("change", draw);
})();
