for (const table of document.querySelectorAll(".sorts table")) [...table.tHead.rows[0].cells].forEach((head, i) => {
  const button = document.createElement("button"), value = row => {
    const text = row.cells[i].textContent, number = parseFloat(text.replaceAll(",", ""));
    return i && !isNaN(number) ? number : text; };
  button.textContent = head.textContent; head.replaceChildren(button);
  button.onclick = () => {
    const up = head.getAttribute("aria-sort") !== "ascending", rows = [...table.tBodies[0].rows];
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    rows.sort((a, b) => { const x = value(a), y = value(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      return (up ? 1 : -1) * (typeof x === "number" && typeof y === "number" ? x - y
        : String(x).localeCompare(String(y), undefined, {numeric: true})); });
    table.tBodies[0].append(...rows); }; });
for (const heat of document.querySelectorAll(".heat")) {
  const image = heat.querySelector("img"), said = heat.querySelector("output"), view = heat.querySelector(".tall");
  const data = JSON.parse(document.getElementById("counts").textContent), size = data.labels.length, counts = new Map();
  data.rows.forEach((row, i) => counts.set(row * size + data.columns[i], data.counts[i]));
  const label = document.createElement("label"), slide = document.createElement("input");
  label.className = "control"; slide.type = "range"; slide.min = 0; slide.max = 100; slide.value = 0;
  label.append("Zoom ", slide); heat.prepend(label);
  const zoom = () => {
    const least = Math.min(view.clientWidth, 900), pixels = least * (16 * size / least) ** (slide.value / 100);
    const x = (view.scrollLeft + view.clientWidth / 2) / image.width, y = (view.scrollTop + view.clientHeight / 2) / image.height;
    image.style.width = image.style.height = Math.max(pixels, least) + "px";
    image.style.imageRendering = pixels < size ? "auto" : "pixelated";
    view.scrollLeft = x * image.width - view.clientWidth / 2; view.scrollTop = y * image.height - view.clientHeight / 2; };
  slide.oninput = zoom; addEventListener("resize", zoom); zoom();
  image.onpointermove = event => {
    const row = Math.floor(event.offsetY / image.height * size), column = Math.floor(event.offsetX / image.width * size);
    if (row < 0 || row >= size || column < 0 || column >= size) return;
    said.textContent = `true ${data.labels[row]}, said ${data.labels[column]}: ` +
      `${counts.get(row * size + column) || 0} ${data.unit}`; };
}
