"use strict";
(() => {
  const root = document.documentElement;
  const printing = window.matchMedia("print");
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  // Storage is not available to some pages that are opened from a file.
  const stored = (store, key, value) => {
    try {
      if (value === undefined) return window[store].getItem(key);
      window[store].setItem(key, value);
    } catch { /* The choice then holds until the page is closed. */ }
    return null;
  };

  // Charts are drawn when they come into view, so that the page responds at once however many there are.
  const drawn = new Set();
  const inks = () => {
    const light = printing.matches || !(root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
    return light ? { ink: "#1d2329", soft: "#59626b", line: "#e2e3de" } : { ink: "#e6e8ea", soft: "#a5aeb6", line: "#31373d" };
  };
  const styled = (layout) => {
    const { ink, soft, line } = inks();
    const family = getComputedStyle(document.body).fontFamily;
    const style = { "font.family": family, "font.color": ink, "font.size": 13 };
    for (const axis of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
      style[`${axis}.gridcolor`] = line;
      style[`${axis}.linecolor`] = soft;
      style[`${axis}.tickcolor`] = soft;
      style[`${axis}.showline`] = true;
    }
    return style;
  };
  // The library is compiled for the first chart, so that sliders and tabs work before.
  const compile = () => {
    if (window.Plotly) return;
    const script = document.createElement("script");
    script.textContent = document.getElementById("plotly").textContent;
    document.head.append(script);
  };
  const draw = (plot) => {
    if (drawn.has(plot)) return;
    compile();
    drawn.add(plot);
    const source = document.querySelector(`script[data-plot="${plot.id}"]`);
    const { data, layout } = JSON.parse(source.textContent);
    Plotly.newPlot(plot, data, layout, { displayModeBar: false, responsive: true })
      .then(() => Plotly.relayout(plot, styled(layout)));
  };
  const restyle = () => drawn.forEach((plot) => Plotly.relayout(plot, styled(plot.layout)));
  const plots = [...document.querySelectorAll(".plot")];
  const watcher = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => draw(entry.target)),
    { rootMargin: "300px" },
  );
  plots.forEach((plot) => watcher.observe(plot));
  window.addEventListener("beforeprint", () => { plots.forEach(draw); restyle(); });
  window.addEventListener("afterprint", restyle);
  prefersDark.addEventListener("change", restyle);

  const themes = ["automatic", "light", "dark"];
  const button = document.getElementById("theme");
  const choose = (theme) => {
    if (theme === "automatic") delete root.dataset.theme;
    else root.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
    restyle();
  };
  let theme = stored("localStorage", "rayspin-theme") || "automatic";
  choose(theme);
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    stored("localStorage", "rayspin-theme", theme);
    choose(theme);
  });

  document.querySelectorAll('.slider input[type="range"]').forEach((slider) => {
    const positions = JSON.parse(slider.dataset.positions);
    const frames = [...slider.closest(".slider").nextElementSibling.querySelectorAll("figure")];
    const show = () => {
      const position = Number(slider.value);
      slider.setAttribute("aria-valuetext", positions[position]);
      slider.parentElement.querySelector("output").textContent = positions[position];
      for (const frame of frames) {
        const images = frame.querySelectorAll("img");
        if (images.length > 1) images.forEach((image, number) => { image.hidden = number !== position; });
      }
    };
    slider.addEventListener("input", show);
    // A browser keeps the position of a slider when the page is loaded again.
    show();
  });

  document.querySelectorAll('[role="tablist"]').forEach((list) => {
    const tabs = [...list.querySelectorAll('[role="tab"]')];
    const select = (chosen) => tabs.forEach((tab) => {
      const on = tab === chosen;
      tab.setAttribute("aria-selected", on);
      tab.tabIndex = on ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !on;
    });
    list.addEventListener("click", (event) => { if (tabs.includes(event.target)) select(event.target); });
    list.addEventListener("keydown", (event) => {
      const now = tabs.indexOf(document.activeElement);
      const places = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: tabs.length - 1 };
      if (now < 0 || !(event.key in places)) return;
      event.preventDefault();
      const next = tabs[(places[event.key] + tabs.length) % tabs.length];
      select(next);
      next.focus();
    });
  });

  if (window.matchMedia("(max-width: 60rem)").matches) document.getElementById("contents").open = false;

  const renew = document.getElementById("renew");
  if (renew) {
    renew.checked = stored("sessionStorage", "rayspin-renew") !== "off";
    renew.addEventListener("change", () => stored("sessionStorage", "rayspin-renew", renew.checked ? "on" : "off"));
    setInterval(() => { if (renew.checked) window.location.reload(); }, 1000 * Number(renew.dataset.seconds));
  }
})();
