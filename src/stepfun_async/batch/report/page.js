"use strict";
(() => {
  const id = (name) => document.getElementById(name);
  const about = JSON.parse(id("about").textContent);
  const at = Object.fromEntries(about.fields.map((name, place) => [name, place]));
  const records = []; // every record of the page: a list of values in the order of about.fields
  let shown = []; // the places in records of those that pass the filter
  const filter = { state: "", failure: null, words: [] };
  const counted = (number) => number.toLocaleString("en");

  // Everything that is not of this page's making is put in as text, by these two.

  // Control characters as signs, since they would not be seen.
  const visible = (text) =>
    String(text)
      .replace(/[\0-\x08\x0b\x0c\x0e-\x1f]/g, (sign) => String.fromCharCode(0x2400 + sign.charCodeAt(0)))
      .replace(/\x7f/g, "\u2421");

  function make(name, properties = {}, ...content) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (key in made) made[key] = value;
      else made.setAttribute(key, value);
    }
    made.append(...content.map((each) => (typeof each === "string" ? visible(each) : each)));
    return made;
  }

  // --- records, read a little at a time so that the page stays quick -----------------------------

  const blocks = Array.from(document.querySelectorAll("script.records"));

  function readBlock() {
    const block = blocks.shift();
    for (const record of JSON.parse(block.textContent)) {
      if (passes(record)) shown.push(records.length);
      records.push(record);
    }
    block.remove();
  }

  function readSome() {
    const end = performance.now() + 12;
    while (blocks.length && performance.now() < end) readBlock();
    update();
    if (blocks.length) setTimeout(readSome);
  }

  function readAll() {
    while (blocks.length) readBlock();
  }

  // --- the filter ---------------------------------------------------------------------------------

  const folded = (text) => text.normalize("NFKC").toLowerCase();

  const filtered = () => filter.state !== "" || filter.failure !== null || filter.words.length > 0;

  function passes(record) {
    if (filter.state && record[at.state] !== filter.state) return false;
    if (filter.failure !== null && record[at.error] !== filter.failure) return false;
    if (!filter.words.length) return true;
    const text = folded(`${record[at.prompt] ?? ""}\n${record[at.id]}`);
    return filter.words.every((word) => text.includes(word));
  }

  function refilter() {
    shown = [];
    records.forEach((record, place) => passes(record) && shown.push(place));
    active = 0;
    clearTiles();
    const top = id("gallery").getBoundingClientRect().top;
    if (top < 0) window.scrollBy({ top, behavior: "instant" });
    update();
  }

  function setFilter(state, failure) {
    filter.state = state;
    filter.failure = failure;
    refilter();
  }

  function clearFilter() {
    id("search").value = "";
    filter.words = [];
    setFilter("", null);
  }

  function update() {
    const whole = about.listed === 1 ? "1 request" : `${counted(about.listed)} requests`;
    id("found").textContent = filtered() ? `${counted(shown.length)} of ${whole}` : whole;
    for (const button of document.querySelectorAll("[data-filter]")) {
      button.setAttribute("aria-pressed", String(button.dataset.filter === filter.state));
    }
    const only = id("only");
    const failure = (filter.failure ?? "").slice(0, 100);
    only.hidden = filter.failure === null;
    only.textContent = visible(`Only ${failure} ×`);
    only.setAttribute("aria-label", visible(`Show not only ${failure}`));
    updateEmpty();
    draw();
  }

  function updateEmpty() {
    id("none").hidden = shown.length > 0 || blocks.length > 0;
    id("none").firstElementChild.textContent = filtered()
      ? "Nothing here matches what you are looking for."
      : "No images yet. They will be listed here once the job has made some.";
    id("clear").hidden = !filtered();
  }

  // --- the grid: only what is near the window is in the document ----------------------------------

  const grid = id("grid");
  const tiles = new Map(); // the tiles in the document, by their place in shown; always without gaps
  const spare = 2; // lines above and below the window that are there, too
  let active = 0; // the place in shown of the tile that the keyboard is at
  let columns = 1;
  let line = 1; // pixels from one line of tiles to the next
  let atTop = -1; // the place in shown of the first tile in the window; -1 while all are below its top
  let printing = false;

  function measure() {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const gap = rem;
    const least = Math.min(12 * rem, (grid.clientWidth - gap) / 2);
    columns = Math.max(1, Math.floor((grid.clientWidth + gap) / (least + gap)));
    const side = (grid.clientWidth - gap * (columns - 1)) / columns;
    line = side + 3.90625 * rem + gap; // the words below an image are as high in the style sheet
    grid.style.setProperty("--columns", columns);
    grid.style.setProperty("--tile", `${line - gap}px`);
  }

  function visibleRange() {
    if (printing) return [0, Math.min(shown.length, 60)];
    const top = grid.getBoundingClientRect().top;
    const lines = Math.ceil(shown.length / columns);
    // One line is always there, however far away, so that the keyboard finds it.
    const first = Math.max(0, Math.min(lines - 1, Math.floor(-top / line) - spare));
    const last = Math.min(lines, Math.max(first + 1, Math.ceil((window.innerHeight - top) / line) + spare));
    grid.style.paddingTop = `${first * line}px`;
    grid.style.paddingBottom = `${(lines - last) * line}px`;
    return [first * columns, Math.min(shown.length, last * columns)];
  }

  function draw() {
    const [from, to] = visibleRange();
    for (const [place, tile] of tiles) {
      if (place < from || place >= to) {
        tile.remove();
        tiles.delete(place);
      }
    }
    const first = Math.min(...tiles.keys());
    for (let place = from; place < to; place++) {
      if (!tiles.has(place)) {
        const tile = makeTile(place);
        grid.insertBefore(tile, place < first ? (tiles.get(first) ?? null) : null);
        tiles.set(place, tile);
      }
    }
    const top = grid.getBoundingClientRect().top;
    atTop = top < 0 ? Math.floor(-top / line) * columns : -1;
    const stop = active >= from && active < to ? active : from;
    for (const [place, tile] of tiles) tile.firstElementChild.tabIndex = place === stop ? 0 : -1;
  }

  function clearTiles() {
    tiles.clear();
    grid.replaceChildren();
  }

  function makeTile(place) {
    const record = records[shown[place]];
    const state = record[at.state];
    const prompt = record[at.prompt] ?? "No prompt";
    const button = make(
      "button",
      { type: "button" },
      pictureOf(record),
      make("span", { className: "words", dir: "auto" }, prompt.slice(0, 200)),
      make("span", { className: "mark", "data-state": state }, state === "done" ? sizeOf(record) : about.states[state][0]),
    );
    const tile = make("li", { "aria-setsize": shown.length, "aria-posinset": place + 1 }, button);
    tile.dataset.place = place;
    return tile;
  }

  const sizeOf = (record) =>
    record[at.width] && record[at.height] ? `${record[at.width]} × ${record[at.height]}` : about.states.done[0];

  function pictureOf(record) {
    const frame = make("span", { className: "picture", "data-state": record[at.state] });
    const source = record[at.thumbnail] ?? record[at.source];
    if (source) frame.append(imageOf(record, source, ""));
    else frame.append(make("span", { className: "instead" }, insteadOf(record)));
    return frame;
  }

  const insteadOf = (record) => {
    if (record[at.path]) return "The image lies outside of this folder";
    return (record[at.error] ?? about.states[record[at.state]][0]).slice(0, 100);
  };

  // A small image that is gone gives way to the whole one, and that to a note.
  function imageOf(record, source, alt) {
    const image = make("img", { loading: "lazy", decoding: "async", alt });
    image.addEventListener("error", () => {
      if (source !== record[at.source]) image.replaceWith(imageOf(record, record[at.source], alt));
      else image.replaceWith(make("span", { className: "instead" }, "The file is gone"));
    });
    image.src = source;
    return image;
  }

  function goTo(place) {
    if (place < 0 || place >= shown.length) return;
    active = place;
    const top = grid.getBoundingClientRect().top + Math.floor(place / columns) * line;
    const covered = getComputedStyle(id("tools")).position === "sticky" ? id("tools").offsetHeight : 0;
    if (top < covered) window.scrollBy({ top: top - covered - 8, behavior: "instant" });
    else if (top + line > window.innerHeight) {
      window.scrollBy({ top: top + line - window.innerHeight, behavior: "instant" });
    }
    draw();
    tiles.get(place)?.firstElementChild.focus({ preventScroll: true });
  }

  const placeOf = (target) => Number(target.closest("li[data-place]")?.dataset.place ?? -1);
  const steps = {
    ArrowLeft: () => -1,
    ArrowRight: () => 1,
    ArrowUp: () => -columns,
    ArrowDown: () => columns,
    Home: (place) => -place,
    End: (place) => shown.length - 1 - place,
  };

  grid.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    const place = placeOf(event.target);
    if (!step || place < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    goTo(place + step(place));
  });
  grid.addEventListener("focusin", (event) => {
    active = placeOf(event.target);
    draw();
  });
  grid.addEventListener("click", (event) => {
    series = shown;
    open(placeOf(event.target));
  });

  let waiting = false;
  function drawSoon() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  }

  // Another width means other columns; what was at the top stays there.
  let wide = 0;
  function fit() {
    if (grid.clientWidth === wide) return drawSoon();
    wide = grid.clientWidth;
    const kept = atTop;
    measure();
    draw();
    if (kept < 0) return;
    const top = grid.getBoundingClientRect().top + Math.floor(kept / columns) * line;
    window.scrollBy({ top, behavior: "instant" });
    draw();
  }

  window.addEventListener("scroll", drawSoon, { passive: true });
  window.addEventListener("resize", fit);
  window.addEventListener("beforeprint", () => {
    printing = true;
    clearTiles();
    grid.style.paddingTop = grid.style.paddingBottom = "0";
    draw();
  });
  window.addEventListener("afterprint", () => {
    printing = false;
    clearTiles();
    draw();
  });

  // --- one image ----------------------------------------------------------------------------------

  const viewer = id("viewer");
  let series = []; // the places in records that next and previous go through
  let opened = 0; // the place in series of the image that is open

  function open(place) {
    if (place < 0 || place >= series.length) return;
    opened = place;
    const record = records[series[place]];
    id("viewer-title").textContent = `${counted(place + 1)} of ${counted(series.length)}`;
    id("previous").disabled = place === 0;
    id("next").disabled = place === series.length - 1;
    id("canvas").replaceChildren(wholePicture(record));
    id("details").replaceChildren(...detailsOf(record));
    id("details").scrollTop = 0;
    const focused = viewer.open && viewer.contains(document.activeElement) && !document.activeElement.disabled;
    if (!viewer.open) viewer.showModal();
    if (!focused) viewer.focus();
  }

  function wholePicture(record) {
    const source = record[at.source];
    if (!source) return make("p", { className: "instead" }, insteadOf(record));
    const image = imageOf(record, source, (record[at.prompt] ?? "").slice(0, 300));
    image.loading = "eager";
    return make("a", { href: source, target: "_blank", rel: "noopener noreferrer", title: "Open the file" }, image);
  }

  const moment = (seconds) => {
    const date = new Date(seconds * 1000);
    return isNaN(date) ? String(seconds) : date.toISOString().replace("T", " ").replace(/\.\d+Z/, " UTC");
  };
  const size = (bytes) =>
    bytes < 1000 ? `${bytes} bytes` : bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(2)} MB`;
  const written = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  const named = (name) => name.replace(/_/g, " ");

  const groups = [
    ["Request", ["id", "model", "operation"]],
    ["Result", ["pixels", "bytes", "seed", "finish_reason", "path"]],
    ["Money", ["cost", "held", "attempts", "maybe_billed"]],
    ["Time", ["started", "ended", "seconds", "trace_id"]],
  ];
  const labels = { held: "uncertain", maybe_billed: "attempts maybe charged", path: "file", seconds: "took" };
  const ways = { bytes: size, started: moment, ended: moment, seconds: (seconds) => `${Number(seconds.toPrecision(3))} s` };

  function detailsOf(record) {
    const state = record[at.state];
    const parts = [
      make("p", { className: "mark", "data-state": state }, about.states[state][0]),
      make("p", { className: "prompt", dir: "auto" }, record[at.prompt] ?? "No prompt"),
    ];
    if (state !== "done") parts.push(make("p", { className: "why" }, `${capital(about.states[state][1])}.`));
    if (record[at.error]) parts.push(failureOf(record));
    for (const [title, names] of groups) {
      const pairs = names.map((name) => [labels[name] ?? named(name), valueOf(record, name)]);
      if (title === "Request") {
        for (const [name, value] of Object.entries(record[at.parameters] ?? {})) pairs.push([named(name), written(value)]);
      }
      parts.push(...groupOf(title, pairs));
    }
    parts.push(copyButton(record));
    return parts;
  }

  const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

  function failureOf(record) {
    const failure = make("div", { className: "failure" }, make("strong", {}, record[at.error]));
    if (record[at.error_message]) failure.append(make("p", { dir: "auto" }, record[at.error_message]));
    return failure;
  }

  function valueOf(record, name) {
    if (name === "pixels") return record[at.width] && record[at.height] ? sizeOf(record) : null;
    const value = record[at[name]] ?? null;
    if (value === null) return null;
    return ways[name] ? ways[name](value) : written(value);
  }

  function groupOf(title, pairs) {
    const known = pairs.filter(([, value]) => value !== null);
    if (!known.length) return [];
    const items = known.map(([name, value]) =>
      make("div", {}, make("dt", {}, name), make("dd", { dir: "auto" }, value)),
    );
    return [make("h3", {}, title), make("dl", {}, ...items)];
  }

  function copyButton(record) {
    const button = make("button", { type: "button", className: "copy" }, "Copy as JSON");
    button.addEventListener("click", async () => {
      const pairs = about.fields.map((name, place) => [name, record[place] ?? null]);
      const known = Object.fromEntries(pairs.filter(([name, value]) => value !== null && name !== "thumbnail"));
      try {
        await navigator.clipboard.writeText(JSON.stringify(known, null, 2));
        button.textContent = "Copied";
      } catch {
        button.textContent = "The browser does not allow it";
      }
    });
    return button;
  }

  id("previous").addEventListener("click", () => open(opened - 1));
  id("next").addEventListener("click", () => open(opened + 1));
  id("close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => event.target === viewer && viewer.close());
  viewer.addEventListener("close", () => series === shown && goTo(opened));
  viewer.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") open(opened - 1);
    if (event.key === "ArrowRight") open(opened + 1);
  });

  // --- what else can be pressed -------------------------------------------------------------------

  id("tools").addEventListener("submit", (event) => event.preventDefault());
  id("search").addEventListener("input", (event) => {
    readAll();
    filter.words = folded(event.target.value).split(/\s+/).filter(Boolean);
    refilter();
  });
  id("clear").addEventListener("click", () => {
    clearFilter();
    id("search").focus();
  });
  id("only").addEventListener("click", () => setFilter(filter.state, null));

  function showOnly(state, failure) {
    readAll();
    clearFilter();
    setFilter(state, failure);
    id("gallery").scrollIntoView();
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-filter], button[data-show], button[data-failure], button[data-place]");
    if (!button) return;
    const { filter: state, show, failure, place } = button.dataset;
    if (state !== undefined) setFilter(state, null);
    if (show !== undefined) showOnly(show, null);
    if (failure !== undefined) showOnly("", about.failures[failure]);
    if (place !== undefined) openExample(Number(place));
  });

  function openExample(place) {
    readAll();
    const failure = records[place][at.error];
    series = records.flatMap((record, each) => (record[at.error] === failure ? [each] : []));
    open(series.indexOf(place));
  }

  id("tools").hidden = id("found").parentElement.hidden = about.listed === 0;
  fit();
  readSome();
})();
